"""Classifiers that look at single objects: sections of a stream in ``device.yaml``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgehaul.config.section import Section


class SecondStage(Section, frozen=True, kw_only=True):
    """A classifier that looks at objects which the stream's own model has found.

    Attributes:
        model: Name of an installed classifier.
        variant: Variant to run; empty means the one chosen at installation.
        attribute: Under which name its answer stands; empty takes the model's name.
        labels: Only objects of these classes; empty for all.
        every_s: Each object is looked at so often.
        least_side_px: Objects whose shorter side is smaller are not looked at.
        margin: Part of the box's width and height that is added on each side.
        at_most: Most objects looked at in one frame; those that wait longest come first.
        score_threshold: Answers below it do not count; none keeps the bundle's.
    """

    model: Annotated[str, Meta(min_length=1)]
    variant: str = ""
    attribute: str = ""
    labels: tuple[str, ...] = ()
    every_s: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    least_side_px: Annotated[int, Meta(ge=1, le=8192)] = 32
    margin: Annotated[float, Meta(ge=0, le=2)] = 0.1
    at_most: Annotated[int, Meta(ge=1, le=64)] = 4
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None

    @property
    def name(self) -> str:
        """Name of its answers."""
        return self.attribute or self.model
