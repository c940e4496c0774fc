"""What every section of a configuration is."""

from __future__ import annotations

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a configuration, of a device or of a recipe: unknown keys are faults."""
