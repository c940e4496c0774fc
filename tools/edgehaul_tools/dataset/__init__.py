"""Datasets: readers of the common forms, splits that do not leak, and virtual ones."""
