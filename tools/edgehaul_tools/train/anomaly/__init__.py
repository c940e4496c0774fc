"""The training of autoencoders that find unusual pictures."""
