"""How benches tell what they find."""

import sys


def say(line: object) -> None:
    """Write a line at once, for whoever watches a long run."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
