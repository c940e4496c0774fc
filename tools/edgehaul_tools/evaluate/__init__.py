"""Measure models on labelled data: how good, how sure of that, where not, and which is better."""
