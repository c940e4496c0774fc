"""Where received messages are kept."""
