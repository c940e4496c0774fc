"""Bundles: what a model needs, how it is packed, and how it proves itself on the box."""
