"""Proving: the same inputs through every variant, accuracy, speed, and a gate."""
