"""Positions in, windows of motion features out: the only implementation, host and device alike."""
