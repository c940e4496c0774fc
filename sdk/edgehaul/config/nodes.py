"""What stands in a YAML tree, and how it is shown to people."""

from __future__ import annotations

from typing import NamedTuple

import yaml

MAX_SHOWN_CHARS = 40

_NULL = "tag:yaml.org,2002:null"


class Mark(NamedTuple):
    """A place in a file, both counted from 0."""

    line: int
    column: int


def mark_of(node: yaml.Node) -> Mark:
    """Return where ``node`` begins."""
    return Mark(node.start_mark.line, node.start_mark.column)


def scalar(node: yaml.Node) -> str | None:
    """Return the text of a scalar, or none for a mapping or a list."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def plain(node: yaml.Node) -> str | None:
    """Return the text of a scalar without quotes; quoted numbers are text."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else None


def is_null(node: yaml.Node) -> bool:
    """Return whether nothing stands there."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL and node.style is None


def show(node: yaml.Node) -> str:
    """Return what stands in the file, for people."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping (key: value)"
    if isinstance(node, yaml.SequenceNode):
        return f"a list of {len(node.value)}"
    if is_null(node):
        return "nothing"
    shown = shortened(str(node.value))
    return shown if plain(node) is not None else f"the quoted text {shown}"


def shortened(text: str) -> str:
    """Return the text in quotes, cut where it is long."""
    return repr(text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 3] + "...")
