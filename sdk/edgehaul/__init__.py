"""EdgeHaul: the contracts every part of the system shares, and the subscriber client."""

__version__ = "0.1.0"
