"""What goes wrong when foreign bytes are read as JSON."""

from __future__ import annotations

import msgspec

UNREADABLE_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises for bytes that are no JSON of the wanted type.

Text that is not UTF-8 and lists nested too deeply come as Python's own errors, so whoever
catches `msgspec.MsgspecError` alone can be brought down by one message or one damaged file.
"""
