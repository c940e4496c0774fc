"""Walks a YAML tree beside a msgspec type: builds the value and gathers every fault.

``msgspec.convert`` stops at the first fault and knows no line numbers, hence this walk.
Text is taken as it is written wherever text is expected, so that ``version: 1.10`` and
``site: no`` mean what they say (YAML 1.1 would read a number and a boolean).
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, NamedTuple

import yaml
from msgspec import inspect

from edgehaul.config.nodes import (
    MAX_SHOWN_CHARS,
    Mark,
    is_null,
    mark_of,
    plain,
    scalar,
    shortened,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that no path, topic or message can hold; YAML takes them where they are escaped."""
_BOOL = "tag:yaml.org,2002:bool"
_TRUE = {"yes", "true", "on"}


class _Bad:
    """Stands for a value that could not be built; its fault is already noted."""


BAD = _Bad()


class Fault(NamedTuple):
    """One thing wrong in a file; sorts by its place."""

    mark: Mark
    key: str
    message: str

    def format(self, where: str) -> str:
        """Return ``file:line:col: key: message``, counted from 1."""
        place = f"{where}:{self.mark.line + 1}:{self.mark.column + 1}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class Walker:
    """Builds values from YAML nodes, noting faults instead of raising.

    Attributes:
        faults: What was wrong, in the order it was found.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._builders: dict[type, Callable[..., object]] = {
            inspect.StructType: self._struct,
            inspect.UnionType: self._union,
            inspect.LiteralType: self._literal,
            inspect.DictType: self._dict,
            inspect.TupleType: self._tuple,
            inspect.VarTupleType: self._items,
            inspect.ListType: self._items,
            inspect.StrType: self._text,
            inspect.IntType: self._integer,
            inspect.FloatType: self._float,
            inspect.BoolType: self._bool,
            inspect.NoneType: self._none,
        }

    def build(self, node: yaml.Node, expected: inspect.Type, key: str) -> object:
        """Return the value of ``node`` as ``expected``, or `BAD` after noting faults.

        Raises:
            TypeError: The type itself is none that a configuration can hold.
        """
        builder = self._builders.get(type(expected))
        if builder is None:
            raise TypeError(f"{key or 'the top'}: {expected!r} cannot stand in a configuration")
        return builder(node, expected, key)

    def fault(self, mark: Mark, key: str, message: str) -> _Bad:
        """Note a fault."""
        self.faults.append(Fault(mark, key, message))
        return BAD

    def describe(self, expected: inspect.Type) -> str:
        """Return what ``expected`` looks like in a file, for people."""
        if isinstance(expected, inspect.StructType):
            return _describe_struct(expected)
        if isinstance(expected, inspect.UnionType):
            return " or ".join(dict.fromkeys(self.describe(t) for t in expected.types))
        if isinstance(expected, inspect.LiteralType):
            return "one of " + ", ".join(str(v) for v in expected.values)
        if isinstance(expected, inspect.TupleType):
            return f"a list of {len(expected.item_types)}"
        return _NAMES[type(expected)]

    def _mismatch(self, node: yaml.Node, expected: inspect.Type, key: str) -> _Bad:
        message = f"expected {self.describe(expected)}, got {show(node)}"
        return self.fault(mark_of(node), key, message)

    # Mappings

    def _struct(self, node: yaml.Node, expected: inspect.StructType, key: str) -> object:
        if expected.array_like:
            return self._array_struct(node, expected, key)
        if not isinstance(node, yaml.MappingNode):
            return self._mismatch(node, expected, key)
        before = len(self.faults)
        entries = self._entries(node, key)
        tag = entries.pop(expected.tag_field, None) if expected.tag_field else None
        if tag is not None and scalar(tag) != str(expected.tag):
            self.fault(mark_of(tag), key, f"expected {expected.tag}, got {show(tag)}")
        fields = {field.encode_name: field for field in expected.fields}
        known = [*fields, *filter(None, [expected.tag_field])]
        misspelt = self._note_unknown(node, entries, known, key)
        values: dict[str, object] = {}
        for name, field in fields.items():
            if name in entries:
                values[field.name] = self.build(entries[name], field.type, _join(key, name))
            elif field.required and name not in misspelt:
                wanted = self.describe(field.type)
                self.fault(
                    mark_of(node), _join(key, name), f"this key is missing; expected {wanted}"
                )
        if len(self.faults) > before:
            return BAD
        return self._construct(node, expected, key, values)

    def _construct(
        self,
        node: yaml.MappingNode,
        expected: inspect.StructType,
        key: str,
        values: dict[str, object],
    ) -> object:
        """Build the struct; what its own check refuses is a fault of the key it names first."""
        try:
            return expected.cls(**values)
        except ValueError as error:
            entries = {scalar(k): v for k, v in node.value}
            for word in _WORD.findall(str(error)):
                if word in entries and word in values:
                    return self.fault(mark_of(entries[word]), _join(key, word), str(error))
            return self.fault(mark_of(node), key, str(error))

    def _entries(self, node: yaml.MappingNode, key: str) -> dict[str, yaml.Node]:
        """Return the values by key; a key that stands twice is a fault."""
        entries: dict[str, yaml.Node] = {}
        lines: dict[str, int] = {}
        for name_node, value in node.value:
            name = scalar(name_node)
            if name is None:
                self.fault(
                    mark_of(name_node), key, f"expected a name as key, got {show(name_node)}"
                )
            elif name in entries:
                first = f"this key stands twice, first at line {lines[name]}; remove one"
                self.fault(mark_of(name_node), _join(key, name), first)
            else:
                entries[name] = value
                lines[name] = name_node.start_mark.line + 1
        return entries

    def _note_unknown(
        self, node: yaml.MappingNode, entries: dict[str, yaml.Node], names: list[str], key: str
    ) -> set[str]:
        """Note unknown keys; return the names that they seem to mean."""
        meant = set()
        for name_node, _ in node.value:
            name = scalar(name_node)
            if name not in entries or name in names:
                continue
            # A near name that is already there is not what was meant.
            near = nearest(name, [n for n in names if n not in entries])
            meant.add(near)
            hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(names)}"
            self.fault(mark_of(name_node), _join(key, name), f"this key is unknown; {hint}")
        return meant

    def _dict(self, node: yaml.Node, expected: inspect.DictType, key: str) -> object:
        if not isinstance(node, yaml.MappingNode):
            return self._mismatch(node, expected, key)
        built = {
            name: self.build(value, expected.value_type, _join(key, name))
            for name, value in self._entries(node, key).items()
        }
        return BAD if BAD in built.values() else built

    def _union(self, node: yaml.Node, expected: inspect.UnionType, key: str) -> object:
        tagged = [t for t in expected.types if isinstance(t, inspect.StructType) and t.tag_field]
        if tagged and isinstance(node, yaml.MappingNode):
            return self._tagged(node, tagged, key)
        # Text takes any scalar, so it is tried last.
        for option in sorted(expected.types, key=lambda t: isinstance(t, inspect.StrType)):
            attempt = Walker()
            value = attempt.build(node, option, key)
            if not attempt.faults:
                return value
        options = [t for t in expected.types if not isinstance(t, inspect.NoneType)]
        if len(options) == 1:
            return self.build(node, options[0], key)
        return self._mismatch(node, expected, key)

    def _tagged(
        self, node: yaml.MappingNode, options: Sequence[inspect.StructType], key: str
    ) -> object:
        """Choose among structs by the key that names the kind, such as ``type``."""
        field = str(options[0].tag_field)
        by_tag = {str(option.tag): option for option in options}
        tag_node = next((v for k, v in node.value if scalar(k) == field), None)
        if tag_node is None:
            wanted = f"expected one of {', '.join(by_tag)}"
            return self.fault(mark_of(node), _join(key, field), f"this key is missing; {wanted}")
        option = by_tag.get(scalar(tag_node) or "")
        if option is None:
            return self._not_among(tag_node, list(by_tag), _join(key, field))
        return self._struct(node, option, key)

    # Sequences

    def _items(
        self, node: yaml.Node, expected: inspect.VarTupleType | inspect.ListType, key: str
    ) -> object:
        if not isinstance(node, yaml.SequenceNode):
            return self._mismatch(node, expected, key)
        items = [
            self.build(item, expected.item_type, f"{key}[{index}]")
            for index, item in enumerate(node.value)
        ]
        if BAD in items:
            return BAD
        return items if isinstance(expected, inspect.ListType) else tuple(items)

    def _tuple(self, node: yaml.Node, expected: inspect.TupleType, key: str) -> object:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) != len(expected.item_types):
            return self._mismatch(node, expected, key)
        items = self._positional(node, expected.item_types, key)
        return BAD if BAD in items else tuple(items)

    def _array_struct(self, node: yaml.Node, expected: inspect.StructType, key: str) -> object:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) != len(expected.fields):
            return self._mismatch(node, expected, key)
        items = self._positional(node, [field.type for field in expected.fields], key)
        if BAD in items:
            return BAD
        try:
            return expected.cls(*items)
        except ValueError as error:
            return self.fault(mark_of(node), key, str(error))

    def _positional(
        self, node: yaml.SequenceNode, types: Iterable[inspect.Type], key: str
    ) -> list[object]:
        pairs = enumerate(zip(node.value, types, strict=True))
        return [self.build(item, kind, f"{key}[{index}]") for index, (item, kind) in pairs]

    # Scalars

    def _literal(self, node: yaml.Node, expected: inspect.LiteralType, key: str) -> object:
        text = scalar(node)
        for value in expected.values:
            if text == str(value):
                return value
        return self._not_among(node, [str(v) for v in expected.values], key)

    def _not_among(self, node: yaml.Node, names: list[str], key: str) -> _Bad:
        near = nearest(scalar(node) or "", names)
        message = f"expected one of {', '.join(names)}, got {show(node)}"
        return self.fault(
            mark_of(node), key, f"{message}; did you mean {near!r}?" if near else message
        )

    def _text(self, node: yaml.Node, expected: inspect.StrType, key: str) -> object:
        text = scalar(node)
        if text is None or is_null(node):
            return self._mismatch(node, expected, key)
        if _UNUSABLE.search(text):
            message = f"expected text without NUL and lone surrogates, got {show(node)}"
            return self.fault(mark_of(node), key, message)
        if expected.pattern and not re.search(expected.pattern, text):
            message = f"expected text that fits {expected.pattern}, got {show(node)}"
            return self.fault(mark_of(node), key, message)
        if expected.min_length and len(text) < expected.min_length:
            message = f"expected at least {expected.min_length} characters, got {show(node)}"
            return self.fault(mark_of(node), key, message)
        return text

    def _integer(self, node: yaml.Node, expected: inspect.IntType, key: str) -> object:
        text = plain(node)
        if text is None or not _INTEGER.fullmatch(text):
            return self._mismatch(node, expected, key)
        return self._bounded(node, int(text, 0), expected, key)

    def _float(self, node: yaml.Node, expected: inspect.FloatType, key: str) -> object:
        try:
            value = float(plain(node) or "")
        except ValueError:
            return self._mismatch(node, expected, key)
        if not math.isfinite(value):
            return self._mismatch(node, expected, key)
        return self._bounded(node, value, expected, key)

    def _bounded(
        self,
        node: yaml.Node,
        value: float,
        expected: inspect.IntType | inspect.FloatType,
        key: str,
    ) -> object:
        limits: tuple[tuple[float | None, str, Callable[[float], bool]], ...] = (
            (expected.gt, "greater than", lambda limit: value > limit),
            (expected.ge, "at least", lambda limit: value >= limit),
            (expected.lt, "less than", lambda limit: value < limit),
            (expected.le, "at most", lambda limit: value <= limit),
        )
        for limit, words, holds in limits:
            if limit is not None and not holds(limit):
                return self.fault(mark_of(node), key, f"expected {words} {limit}, got {value}")
        return value

    def _bool(self, node: yaml.Node, expected: inspect.BoolType, key: str) -> object:
        text = plain(node)
        if text is None or node.tag != _BOOL:
            return self._mismatch(node, expected, key)
        return text.lower() in _TRUE

    def _none(self, node: yaml.Node, expected: inspect.NoneType, key: str) -> object:
        return None if is_null(node) else self._mismatch(node, expected, key)


_NAMES: dict[type[inspect.Type], str] = {
    inspect.DictType: "a mapping (key: value)",
    inspect.VarTupleType: "a list",
    inspect.ListType: "a list",
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "nothing",
}


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the valid name nearest to ``name``, or nothing where none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return close[0] if close else ""


def _describe_struct(expected: inspect.StructType) -> str:
    if not expected.array_like:
        return "a mapping (key: value)"
    form = ", ".join(
        _describe_form(f.type) if isinstance(f.type, inspect.StructType) else f.name
        for f in expected.fields
    )
    return f"a list [{form}]"


def _describe_form(expected: inspect.StructType) -> str:
    return f"[{', '.join(field.name for field in expected.fields)}]"


def _join(key: str, name: str) -> str:
    shown = name if name.isprintable() and len(name) <= MAX_SHOWN_CHARS else shortened(name)
    return f"{key}.{shown}" if key else shown
