"""The composition of the stages, for one stream each."""
