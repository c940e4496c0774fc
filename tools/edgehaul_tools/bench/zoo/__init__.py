"""Nine networks of the kinds that boxes run, with weights that mean something."""
