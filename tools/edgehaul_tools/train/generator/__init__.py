"""The training of a GAN that makes pictures of rare classes."""
