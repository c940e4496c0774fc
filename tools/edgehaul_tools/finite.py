"""Numbers of the command line that are numbers: no NaN, no infinity."""

from __future__ import annotations

import math

import click


class FiniteRange(click.FloatRange):
    """A :class:`click.FloatRange` that lets neither NaN nor infinity pass.

    NaN is neither below nor above any bound, so that the range alone takes it: a gate of NaN is
    then met by anything or by nothing, and JSON has no word for it.
    """

    def convert(
        self,
        value: str | float,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number.

        Raises:
            click.BadParameter: It is no finite number, or out of the range.
        """
        number = super().convert(value, param, ctx)  # type: ignore[arg-type]  # it takes text
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number
