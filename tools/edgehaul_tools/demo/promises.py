"""What the demo promises, held against what it measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgehaul_tools.demo.result import DemoResult
from edgehaul_tools.verify.gate import Gate

MAX_DROP = Gate().max_drop
_ROUNDING = 9
"""Decimals that count: 0.99 - 0.98 is a little more than 0.01 in floating point."""


def unmet_promises(result: DemoResult) -> tuple[str, ...]:
    """Return one line for each promise that the run did not keep.

    These are: int8 loses at most one point of mAP50, every parcel is counted, and every
    message is received or declared lost.
    """
    return tuple(line for promise in (_accuracy, _counts, _messages) for line in promise(result))


def _accuracy(result: DemoResult) -> Iterator[str]:
    reference, *others = result.variants
    for variant in others:
        drop = round(reference.map50 - variant.map50, _ROUNDING)
        if not drop <= MAX_DROP:  # what is no number is not met
            yield (
                f"mAP50 of {variant.name} is {variant.map50:.4f}, more than "
                f"{MAX_DROP * 100:g} point below the {reference.map50:.4f} of {reference.name}"
            )


def _counts(result: DemoResult) -> Iterator[str]:
    counted, true = result.camera.counted, result.camera.true_counts
    wrong = [
        f"{counted.get(label, 0)} of {true.get(label, 0)} {label}"
        for label in sorted({*counted, *true})
        if counted.get(label, 0) != true.get(label, 0)
    ]
    if wrong:
        yield f"parcels counted at the line are not the true ones: {', '.join(wrong)}"


def _messages(result: DemoResult) -> Iterator[str]:
    messages = result.messages
    if not messages.complete:
        yield (
            f"{messages.produced} messages were produced, but {messages.received} received and "
            f"{messages.declared_lost} declared lost"
        )
