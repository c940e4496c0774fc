"""Structured pruning: fewer channels, learnt again, in a run that is exported as any other."""
