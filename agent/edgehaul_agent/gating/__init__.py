"""What decides whether a frame is looked at: the hour, and whether anything moves."""
