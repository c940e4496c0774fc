"""YAML files to typed values, with every fault at once as ``file:line:col: key: what``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec
import yaml

from edgehaul.config.nodes import Mark
from edgehaul.config.walk import Walker
from edgehaul.errors import ConfigError

if TYPE_CHECKING:
    from os import PathLike

T = TypeVar("T")
_LONG_ESCAPE = re.compile(r"\\U([0-9a-fA-F]{8})")

MAX_BYTES = 1_000_000
"""No configuration is larger; a larger file is something else by mistake."""


def load(path: str | PathLike[str], kind: type[T]) -> T:
    """Read a YAML (or JSON) file as a value of type ``kind``.

    Args:
        path: The file.
        kind: A msgspec Struct, or any type built of them.

    Raises:
        ConfigError: The file cannot be read, or holds faults; all of them are named.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(
                [f"{file}: this is no configuration, it is larger than {MAX_BYTES} bytes"],
                where=file,
            )
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fault = f"{file}: cannot read the configuration: {reason}; check the path"
        raise ConfigError([fault], where=file) from error
    except UnicodeDecodeError as error:
        fault = f"{file}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        raise ConfigError([fault], where=file) from error
    return load_text(text, kind, where=str(file))


def load_text(text: str, kind: type[T], *, where: str = "<text>") -> T:
    """Read YAML (or JSON) text as a value of type ``kind``.

    Args:
        text: The YAML.
        kind: A msgspec Struct, or any type built of them.
        where: Name of the source, for the faults.

    Raises:
        ConfigError: The text holds faults; all of them are named.
    """
    walker = Walker()
    node = _compose(text, where)
    expected = msgspec.inspect.type_info(kind)
    if node is None:
        walker.fault(Mark(0, 0), "", f"expected {walker.describe(expected)}, got an empty file")
        value: object = None
    else:
        value = walker.build(node, expected, "")
    if walker.faults:
        raise ConfigError([fault.format(where) for fault in sorted(walker.faults)], where=where)
    return cast("T", value)


def _compose(text: str, where: str) -> yaml.Node | None:
    """Return the YAML tree, whose nodes know their line and column."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([f"{place}: not valid YAML: {problem}"], where=where) from error
    except yaml.reader.ReaderError as error:
        place = _place(text, error.position, where)
        fault = f"{place}: this character cannot stand in YAML; remove it"
        raise ConfigError([fault], where=where) from error
    except (ValueError, OverflowError) as error:  # PyYAML makes a character of any number
        beyond = (m for m in _LONG_ESCAPE.finditer(text) if int(m[1], 16) > sys.maxunicode)
        place = next((_place(text, m.start(), where) for m in beyond), where)
        fault = f"{place}: there is no such character; correct the escape"
        raise ConfigError([fault], where=where) from error
    except RecursionError as error:
        raise ConfigError(
            [f"{where}: nested too deeply for a configuration"], where=where
        ) from error


def _place(text: str, position: int, where: str) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"{where}:{line}:{column}"
