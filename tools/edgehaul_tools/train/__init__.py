"""Training: a labelled dataset becomes a run directory with weights and their measures."""
