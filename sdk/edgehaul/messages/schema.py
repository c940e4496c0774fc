"""JSON Schemas and the AsyncAPI document, generated from the types.

``python -m edgehaul.messages.schema docs/contract`` writes them; with ``--check`` it only
says whether the files there are the ones the types give.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from edgehaul.bundle.manifest import Manifest
from edgehaul.config.device import DeviceConfig
from edgehaul.config.recipe import Recipe
from edgehaul.messages.asyncapi import asyncapi_document
from edgehaul.messages.envelope import Envelope, Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonSchema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The dialect: the one that AsyncAPI 3.0 requires every reader to know."""
DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "manifest": Manifest,
    "device": DeviceConfig,
    "recipe": Recipe,
}
"""Schemas beside the messages', by file name."""

_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)
_REFERENCE = re.compile(r'"#/definitions/(\w+)"')


def message_schemas() -> dict[str, JsonSchema]:
    """Return the JSON Schema of the whole message for each kind of payload."""
    _, definitions = _components(Envelope)
    schemas = {}
    for payload in get_args(Payload):
        kind = str(payload.__struct_config__.tag)
        envelope = copy.deepcopy(definitions["Envelope"])
        envelope["title"] = f"edgehaul.{kind}.v1"
        envelope["properties"]["type"]["const"] = f"edgehaul.{kind}.v1"
        envelope["properties"]["data"] = {"$ref": f"#/definitions/{payload.__name__}"}
        schemas[kind] = _standalone(envelope, definitions)
    return schemas


def document_schemas() -> dict[str, JsonSchema]:
    """Return the JSON Schemas of the files that people and tools write."""
    schemas = {}
    for name, kind in DOCUMENTS.items():
        root, definitions = _components(kind)
        schemas[name] = _standalone(definitions[_target(root)], definitions)
    return schemas


def contract_files() -> dict[str, str]:
    """Return the content of every generated file by its path under the output folder."""
    schemas = message_schemas() | document_schemas()
    files = {
        f"schemas/{name}.json": json.dumps(schema, indent=2) + "\n"
        for name, schema in schemas.items()
    }
    _, definitions = _components(Envelope)
    files["asyncapi.yaml"] = asyncapi_document(definitions)
    return files


def stale_files(folder: Path) -> list[str]:
    """Return what in ``folder`` differs from what the types give, sorted."""
    wanted = contract_files()
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    differing = {
        name
        for name, content in wanted.items()
        if name in present and (folder / name).read_text(encoding="utf-8") != content
    }
    return sorted(differing | (wanted.keys() ^ present))


def _components(kind: type[msgspec.Struct]) -> tuple[JsonSchema, dict[str, JsonSchema]]:
    (root,), definitions = msgspec.json.schema_components(
        [kind], ref_template="#/definitions/{name}"
    )
    structs = {struct.__name__: struct for struct in _structs_in(kind)}
    documented = {
        name: _documented(schema, structs.get(name)) for name, schema in definitions.items()
    }
    return root, documented


def _structs_in(kind: type[msgspec.Struct]) -> set[type]:
    """Return all structs that a value of ``kind`` may hold, and itself."""
    found: set[type] = set()
    todo: list[Any] = [msgspec.inspect.type_info(kind)]
    while todo:
        info = todo.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found:
                continue
            found.add(info.cls)
        # Fields of a struct, members of a union, items of a collection: all are types again.
        for value in (getattr(info, name) for name in getattr(info, "__struct_fields__", ())):
            parts = value if isinstance(value, tuple) else (value,)
            todo += [
                p for p in parts if isinstance(p, (msgspec.inspect.Type, msgspec.inspect.Field))
            ]
    return found


def _documented(schema: JsonSchema, struct: type | None) -> JsonSchema:
    """Return the schema in our dialect, each property described by the docstrings' words."""
    plain: JsonSchema = _draft7(schema)
    if "description" in schema:
        plain["description"] = _summary_and_attributes(schema["description"])[0]
    properties = plain.get("properties", {})
    # What a struct inherits is described where it is declared.
    texts = (
        [base.__dict__.get("__doc__") or "" for base in reversed(struct.mro())] if struct else []
    )
    for text in (*texts, schema.get("description", "")):
        for name, description in _summary_and_attributes(text)[1]:
            if name in properties:
                properties[name]["description"] = " ".join(description.split())
    return plain


def _summary_and_attributes(docstring: str) -> tuple[str, list[tuple[str, str]]]:
    summary, _, attributes = inspect.cleandoc(docstring).partition("\n\nAttributes:\n")
    return " ".join(summary.split()), _ATTRIBUTE.findall(attributes)


def _draft7(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the schema without keywords that draft 7 does not know."""
    if isinstance(value, list):
        return [_draft7(item) for item in value]
    if not isinstance(value, dict):
        return value
    # Draft 2020-12 says `prefixItems` and `items` where draft 7 says `items` and `additionalItems`.
    names = {"prefixItems": "items", "items": "additionalItems"} if "prefixItems" in value else {}
    return {
        names.get(key, key): _draft7(item) for key, item in value.items() if key != "discriminator"
    }


def _standalone(root: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Return ``root`` with the definitions it needs, and no others."""
    needed: set[str] = set()
    waiting = set(_references(root))
    while waiting:
        needed |= waiting
        waiting = {n for name in waiting for n in _references(definitions[name])} - needed
    return {
        "$schema": DRAFT,
        **root,
        "definitions": {name: definitions[name] for name in sorted(needed)},
    }


def _references(schema: JsonSchema) -> Iterator[str]:
    yield from _REFERENCE.findall(json.dumps(schema))


def _target(reference: JsonSchema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _write(folder: Path) -> None:
    for name, content in contract_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgehaul.messages.schema")
    parser.add_argument("folder", type=Path, help="where they go, such as docs/contract")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    options = parser.parse_args(arguments)
    if not options.check:
        _write(options.folder)
        return 0
    stale = stale_files(options.folder)
    for name in stale:
        remedy = f"run: python -m edgehaul.messages.schema {options.folder}"
        sys.stderr.write(f"{options.folder / name}: is not what the types give; {remedy}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
