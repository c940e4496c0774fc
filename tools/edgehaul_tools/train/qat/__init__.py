"""Quantization-aware training: the network learns with the rounding of int8 in the loop."""
