"""Target profiles: which int8 forms are right and fast on which kind of processor.

What the table says is where the search begins. What is fast is measured wherever the target is
the machine at hand, and on every box by its agent.
"""

from __future__ import annotations

import difflib
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgehaul.errors import UsageError
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.saturation import WeightBits, weight_bits_here

HERE = "auto"
_CPU_FACTS = Path("/proc/cpuinfo")
_DOT_PRODUCTS = frozenset({"asimddp", "i8mm"})


class Target(msgspec.Struct, frozen=True):
    """A kind of processor.

    Attributes:
        name: What ``--target`` calls it.
        static: Right forms for convolutions and dense layers, the fastest first.
        dynamic: Right forms for recurrent and attention layers, the fastest first.
        why: What decides there.
    """

    name: str
    static: tuple[Form, ...]
    dynamic: tuple[Form, ...]
    why: str

    @property
    def weight_bits(self) -> WeightBits:
        """How wide the weights of its fastest form are."""
        return self.static[0].weight_bits


def _dynamic(weight_bits: WeightBits = 8) -> tuple[Form, ...]:
    scales = (True, False)
    return tuple(Form("dynamic", per_channel=s, weight_bits=weight_bits) for s in scales)


_U8S8, _S8S8, _U8U8 = Form(), Form(activations="s8"), Form(weights="u8")
_NARROW_U8S8 = Form(weight_bits=7)
_UNSIGNED_DYNAMIC = Form("dynamic", weights="u8")

TARGETS = {
    target.name: target
    for target in (
        Target(
            "x86-vnni",
            (_U8S8, Form("qoperator")),
            _dynamic(),
            "vpdpbusd multiplies U8 by S8 and adds in 32 bits; S8S8 takes a detour",
        ),
        Target(
            "x86-avx2",
            (_NARROW_U8S8, Form("qoperator", weight_bits=7), _U8U8),
            (*_dynamic(7), _UNSIGNED_DYNAMIC),
            "vpmaddubsw adds two U8 x S8 products in 16 bits: weights of 8 bits overflow there; "
            "U8U8 is right and slower",
        ),
        Target(
            "arm64-dotprod",
            (_S8S8, _U8U8),
            (Form("dynamic"), _UNSIGNED_DYNAMIC),
            "sdot and udot multiply numbers of one kind: S8S8 or U8U8",
        ),
        Target(
            "arm64",
            (_S8S8, _U8U8),
            (Form("dynamic"), _UNSIGNED_DYNAMIC),
            "without dot products int8 gains little over fp32: time it on the box",
        ),
        Target(
            "generic",
            (_NARROW_U8S8, _S8S8),
            _dynamic(7),
            "forms that are right on every processor; the box keeps the fastest",
        ),
    )
}


def target_here() -> Target:
    """Return the target that this machine is: its products are tried, not its name."""
    machine = platform.machine().lower()
    if machine in {"x86_64", "amd64"}:
        return TARGETS["x86-avx2" if weight_bits_here() < _U8S8.weight_bits else "x86-vnni"]
    if machine in {"aarch64", "arm64"}:
        return TARGETS["arm64-dotprod" if _has_dot_products() else "arm64"]
    return TARGETS["generic"]


def target_named(name: str) -> Target:
    """Return a target by its name; ``auto`` is this machine.

    Raises:
        UsageError: There is no such target.
    """
    if name == HERE:
        return target_here()
    if name not in TARGETS:
        near = difflib.get_close_matches(name, TARGETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(TARGETS)}"
        raise UsageError(f"there is no target {name!r}", where="--target", remedy=hint)
    return TARGETS[name]


def shared_forms(targets: Sequence[Target], *, dynamic: bool) -> tuple[Form, ...]:
    """Return the forms that boxes of all these kinds choose from, without twins.

    Where one kind needs narrower weights in a form than another, the narrow ones go to both:
    they are right everywhere.
    """
    every = [form for target in targets for form in (target.dynamic if dynamic else target.static)]
    kept: dict[str, Form] = {}
    for form in every:
        there = kept.get(form.name)
        if there is None or form.weight_bits < there.weight_bits:
            kept[form.name] = form
    return tuple(kept.values())


def _has_dot_products() -> bool:
    try:
        words = set(_CPU_FACTS.read_text(encoding="utf-8").split())
    except OSError:  # not Linux: Apple's processors, which all have them
        return platform.system() == "Darwin"
    return bool(words & _DOT_PRODUCTS)
