"""The plans that a search begins with: by the network's family, the target, and what was asked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul_tools.quantize.calibrate import Method
from edgehaul_tools.quantize.family import ROUTES, family_of
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.saturation import WeightBits
from edgehaul_tools.quantize.target import Target, shared_forms

FIRST_METHOD: Method = "minmax"


def first_plans(
    model: onnx.ModelProto,
    spec: ModelSpec,
    targets: Sequence[Target],
    form: Form | None = None,
    weight_bits: WeightBits | None = None,
    *,
    wide: bool = False,
) -> tuple[Plan, ...]:
    """Return all-int8 plans for a model, the one that most likely is the fastest first.

    Args:
        model: A cleaned float model.
        spec: Its input and output.
        targets: Kinds of processors that it is for.
        form: The only form to plan with, where one was asked for.
        weight_bits: Width of the weights, where one was asked for.
        wide: Whether to plan also what seldom is the fastest: the integer operators, which are
            about as fast as what ONNX Runtime makes of QDQ; and attention wholly in int8, which
            pays with VNNI.
    """
    routes = ROUTES[family_of(model, spec)]
    forms: list[Form] = [form] if form is not None else []
    if form is None:
        for route in routes.routes:
            forms += shared_forms(targets, dynamic=route == "dynamic")
        forms = [one for one in forms if wide or one.representation != "qoperator"]
    if weight_bits is not None:
        forms = [msgspec.structs.replace(one, weight_bits=weight_bits) for one in forms]
    plans = tuple(
        Plan(
            form=one,
            method=None if one.representation == "dynamic" else FIRST_METHOD,
            elementwise_float=routes.elementwise_float and one.representation != "dynamic",
        )
        for one in forms
    )
    if not wide:
        return plans
    wholly = tuple(
        msgspec.structs.replace(plan, elementwise_float=False)
        for plan in plans
        if plan.elementwise_float and plan.form.representation == "qdq"
    )
    return plans + wholly
