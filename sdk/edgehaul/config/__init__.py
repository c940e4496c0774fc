"""Configuration: YAML files checked against types, every fault at its line and column."""
