"""Where frames and fixes come from."""
