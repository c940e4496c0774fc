"""The EdgeHaul host tools: from a dataset to a proved bundle on a device."""
