"""XML from elsewhere, read without what XML can be misused for."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from edgehaul.errors import DatasetError

_HEAD_BYTES = 4096


def begins_with_element(file: Path, name: str) -> bool:
    """Return whether an element is named near the beginning of a file, in whatever encoding."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD_BYTES).replace(b"\0", b"")
    return f"<{name}>".encode() in head


def read_xml(file: Path) -> ET.Element:
    """Return the root of an XML file; names, texts and attributes are as they are written.

    Entities are refused wherever they are declared and in whatever encoding: they can grow
    a file of a kilobyte to gigabytes, or read other files.

    Raises:
        DatasetError: The file cannot be read, is no well-formed XML, or declares entities.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"cannot read the file: {error.strerror}", where=file, remedy="check the path"
        ) from error
    return parse_xml(content, file)


def parse_xml(content: bytes, file: Path) -> ET.Element:
    """Return the root of the XML that was read of ``file``; see :func:`read_xml`."""
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> NoReturn:
        raise DatasetError(
            "XML with entities is refused", where=file, remedy="export the file again without them"
        )

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content.removeprefix(b"\xef\xbb\xbf").lstrip(), True)  # noqa: FBT003 - expat takes it by position
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DatasetError(
            f"this is no well-formed XML: {error}", where=file, remedy="export the file again"
        ) from error
    return builder.close()


def text_element(parent: ET.Element, name: str, text: str) -> None:
    """Add an element with a text."""
    ET.SubElement(parent, name).text = text


def write_xml(root: ET.Element, file: Path) -> None:
    """Write an XML file in UTF-8, indented.

    Raises:
        DatasetError: A name or text holds control characters, which XML cannot.
    """
    ET.indent(root)
    content = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    parse_xml(content, file)
    file.write_bytes(content + b"\n")
