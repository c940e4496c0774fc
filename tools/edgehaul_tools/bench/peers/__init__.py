"""Other tools that make models int8, each in an environment of its own."""
