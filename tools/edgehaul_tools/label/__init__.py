"""Mark pictures with a model, for people to correct."""
