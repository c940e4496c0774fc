"""Virtual devices: a conveyor camera and a truck, repeatable from a seed, with exact truth."""
