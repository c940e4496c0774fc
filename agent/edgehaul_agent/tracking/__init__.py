"""Following objects over time."""
