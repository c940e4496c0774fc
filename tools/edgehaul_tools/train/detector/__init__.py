"""The training of object detectors."""
