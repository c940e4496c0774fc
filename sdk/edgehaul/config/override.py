"""Single values of a configuration, given beside its file: ``--set optimizer.epochs=5``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar, cast

import msgspec
import yaml

from edgehaul.config.walk import Walker
from edgehaul.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def overridden(value: T, assignments: Iterable[str], *, where: str = "--set") -> T:
    """Return a configuration with single values replaced, checked as those of a file are.

    Args:
        value: The configuration.
        assignments: ``key.path=value`` each, the value written as in YAML.
        where: What to name in errors.

    Raises:
        ConfigError: An assignment is malformed, names no key, or gives what the key does not
            take; all are named.
    """
    faults: list[str] = []
    for text in assignments:
        try:
            value = _assigned(value, text)
        except ValueError as error:
            faults.append(f"{where} {text}: {error}")
    if faults:
        raise ConfigError(faults, where=where)
    return value


def _assigned(value: T, text: str) -> T:
    key, equals, written = text.partition("=")
    if not equals or not key.strip():
        raise ValueError("write key=value, such as optimizer.epochs=5")
    try:
        node = yaml.compose(written, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise ValueError(f"{written!r} cannot be read as YAML") from None
    if node is None:
        raise ValueError("no value is given")
    return cast("T", _replaced(value, key.strip().split("."), node))


def _replaced(struct: msgspec.Struct, path: list[str], node: yaml.Node) -> msgspec.Struct:
    """Return ``struct`` with the value at ``path`` replaced, checked at every level."""
    name, *rest = path
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(fields)}"
        raise ValueError(f"there is no key {name!r}; {meant}")
    before = getattr(struct, fields[name].name)
    if not rest:
        return _checked(struct, name, _built(fields[name].type, node, name))
    if not isinstance(before, msgspec.Struct):
        raise ValueError(f"{name!r} has no keys of its own")  # noqa: TRY004 - all faults are gathered as one kind
    return _checked(struct, name, _replaced(before, rest, node))


def _built(kind: object, node: yaml.Node, key: str) -> object:
    walker = Walker()
    value = walker.build(node, msgspec.inspect.type_info(kind), key)
    if walker.faults:
        raise ValueError("; ".join(fault.message for fault in walker.faults))
    return value


def _checked(struct: msgspec.Struct, name: str, value: object) -> msgspec.Struct:
    # Unlike structs.replace, the constructor asks __post_init__ whether the whole still fits.
    fields = {field.name: getattr(struct, field.name) for field in msgspec.structs.fields(struct)}
    return type(struct)(**(fields | {name: value}))
