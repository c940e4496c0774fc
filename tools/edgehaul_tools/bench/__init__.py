"""Measurements of what the other stages make, on the machine at hand."""
