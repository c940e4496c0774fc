"""Training pictures: read onto the canvas once, varied each time."""
