"""Forms, targets, families and routes; gates by integers; what ONNX Runtime makes of a graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import UsageError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors
from edgehaul_tools.quantize.dynamic import quantize_dynamically
from edgehaul_tools.quantize.family import advice_for, family_of
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.fusion import fusion_of
from edgehaul_tools.quantize.graph import clean, divide, float_region
from edgehaul_tools.quantize.routes import first_plans
from edgehaul_tools.quantize.saturation import weight_bits_here
from edgehaul_tools.quantize.static import quantize_static
from edgehaul_tools.quantize.target import TARGETS, shared_forms, target_here, target_named

SPEC = ModelSpec("classify", ImageInput(16, 16, layout="nchw"), OutputSpec("classify", ("a", "b")))
_HERE = weight_bits_here()


def network(*kinds: str, opset: int = 17, **attributes: float) -> onnx.ModelProto:
    """Return three 3x3 convolutions over (1, 8, 16, 16) with these activations between."""
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for index in range(3):
        weight = random.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(
            helper.make_node(
                "Conv", [last, f"w{index}"], [f"c{index}"], name=f"conv{index}", pads=[1, 1, 1, 1]
            )
        )
        last = f"c{index}"
        for kind in kinds:
            if kind == "Gate":  # HardSwish as exporters for old opsets write it
                nodes.append(
                    helper.make_node(
                        "HardSigmoid", [last], [f"g{index}"], name=f"gate{index}", **attributes
                    )
                )
                nodes.append(
                    helper.make_node("Mul", [last, f"g{index}"], [f"a{index}"], name=f"mul{index}")
                )
            else:
                nodes.append(helper.make_node(kind, [last], [f"a{index}"], name=f"{kind}{index}"))
            last = f"a{index}"
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[2, 3], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return clean(made, where=Path("network"))


def inputs(count: int = 8) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(1)
    return [random.normal(0, 1, (1, 8, 16, 16)).astype(np.float32) for _ in range(count)]


def quantized(model: onnx.ModelProto, form: Form) -> tuple[onnx.ModelProto, set[str]]:
    ranges = Histograms(model, activation_tensors(model), lambda: iter(inputs())).ranges("minmax")
    region = float_region(model.graph, divide(model.graph), ())
    return quantize_static(model, ranges, float_nodes=region, form=form), region


def relative_error(model: onnx.ModelProto, int8: onnx.ModelProto) -> float:
    expected = np.concatenate([runner(model)(x)[0] for x in inputs()])
    got = np.concatenate([runner(int8)(x)[0] for x in inputs()])
    return float(((got - expected) ** 2).mean() / expected.var())


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (Form(), "int8-u8s8"),
        (Form(activations="s8"), "int8-s8s8"),
        (Form(weights="u8"), "int8-u8u8"),
        (Form(per_channel=False), "int8-u8s8-per-tensor"),
        (Form("qoperator"), "int8-u8s8-qoperator"),
        (Form("dynamic"), "int8-dynamic"),
        (Form("dynamic", weights="u8"), "int8-dynamic-u8"),
    ],
)
def test_names_of_forms(form: Form, name: str) -> None:
    assert form.name == name


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("representation", ["qdq", "qoperator"])
@pytest.mark.parametrize("numbers", [("u8", "s8"), ("s8", "s8"), ("u8", "u8")])
def test_every_static_form_answers_nearly_as_fp32(
    representation: str,
    numbers: tuple[str, str],
    per_channel: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    form = Form(representation, *numbers, per_channel, _HERE)  # type: ignore[arg-type]  # literals
    model = network("Relu")
    int8, region = quantized(model, form)
    assert relative_error(model, int8) < 0.01
    fusion = fusion_of(int8, region)
    assert fusion.integer == 3
    assert not fusion.failures
    scales = [numpy_helper.to_array(t).size for t in int8.graph.initializer if t.name == "w1_scale"]
    assert scales == [8 if per_channel else 1]


@pytest.mark.parametrize("representation", ["qdq", "qoperator"])
def test_layers_that_share_a_bias_each_round_it_in_their_own_steps(representation: str) -> None:
    model = network("Relu")
    bias = np.linspace(-3, 3, 8).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(bias, "bias"))
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.input.append("bias")
    form = Form(representation, weight_bits=_HERE)  # type: ignore[arg-type]  # a literal
    int8, region = quantized(model, form)
    assert fusion_of(int8, region).integer == 3
    assert relative_error(model, int8) < 0.01


def test_a_convolution_that_runs_in_float_is_a_failure_unless_it_was_meant_to() -> None:
    model = network("Relu")
    ranges = Histograms(model, activation_tensors(model), lambda: iter(inputs())).ranges("minmax")
    division = divide(model.graph)
    region = float_region(model.graph, division, ["conv1"])
    int8 = quantize_static(model, ranges, float_nodes=region, form=Form(weight_bits=_HERE))
    assert fusion_of(int8, region).failures == ()
    found = fusion_of(int8, float_region(model.graph, division, ()))
    assert found.stray == ("conv1",)
    assert "conv1 was to be int8 and runs in float" in found.failures[0]


def test_a_float_model_uses_no_integer_kernel() -> None:
    assert "no integer kernel" in fusion_of(network("Relu"), ()).failures[0]


def test_an_operator_without_an_integer_kernel_is_named() -> None:
    model = network("Softplus")
    int8, region = quantized(model, Form(weight_bits=_HERE))
    found = fusion_of(int8, region)
    assert found.unfused.get("Softplus", 0) >= 2
    assert any("Softplus" in line for line in found.remarks)


@pytest.mark.parametrize(
    ("kinds", "attributes"),
    [(("HardSwish",), {}), (("Gate",), {"alpha": 1 / 6, "beta": 0.5}), (("Gate",), {})],
)
@pytest.mark.parametrize("representation", ["qdq", "qoperator"])
def test_hard_gates_run_on_integers(
    kinds: tuple[str, ...], attributes: dict[str, float], representation: str
) -> None:
    model = network(*kinds, **attributes)
    form = Form(representation, weight_bits=_HERE)  # type: ignore[arg-type]  # a literal
    int8, region = quantized(model, form)
    assert relative_error(model, int8) < 0.02
    found = fusion_of(int8, region)
    assert found.operators["QLinearAdd"] == 2, "the last one is behind the last layer: float"
    assert not found.unfused
    multiplied = found.operators["QLinearMul"]
    assert multiplied == (2 if representation == "qdq" else 4), "read with a scale, not multiplied"
    ends = found.operators["DequantizeLinear"]
    assert ends <= 2, "only behind the last layer, once for each of its readers"


def test_hard_gates_of_float_layers_stay_as_they_are() -> None:
    model = network("HardSwish")
    ranges = Histograms(model, activation_tensors(model), lambda: iter(inputs())).ranges("minmax")
    everything = {node.name for node in model.graph.node}
    same = quantize_static(model, ranges, float_nodes=everything, form=Form())
    kinds = [node.op_type for node in same.graph.node]
    assert kinds == [node.op_type for node in model.graph.node]


def test_targets_are_right_on_their_processors() -> None:
    for target in TARGETS.values():
        assert target.static, target.name
        for form in (*target.static, *target.dynamic):
            if target.name in {"x86-avx2", "generic"}:
                assert not form.can_saturate, f"{target.name}: {form.name} overflows there"
    assert TARGETS["arm64-dotprod"].static[0].name == "int8-s8s8"
    assert target_here().weight_bits == _HERE
    assert target_named("auto") == target_here()
    with pytest.raises(UsageError, match="did you mean 'x86-avx2'"):
        target_named("x86_avx2")


def test_forms_of_several_targets_have_no_twins_and_the_narrower_weights() -> None:
    forms = shared_forms([TARGETS["x86-vnni"], TARGETS["x86-avx2"]], dynamic=False)
    assert len({form.name for form in forms}) == len(forms)
    assert {f.weight_bits for f in forms if f.name == "int8-u8s8"} == {7}


def recurrent(kind: str) -> onnx.ModelProto:
    gates = {"LSTM": 4, "GRU": 3}[kind]
    random = np.random.default_rng(0)
    shapes = {"w": (1, gates * 8, 4), "r": (1, gates * 8, 8)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w", "r"], ["y"], name="layer", hidden_size=8)],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1, 1, 8])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def attention() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    names = ("q", "k", "v")
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, (16, 16)).astype(np.float32), f"w{n}")
        for n in names
    ]
    nodes = [helper.make_node("MatMul", ["x", f"w{n}"], [n], name=f"to_{n}") for n in names]
    nodes += [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 16])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_families_and_where_their_search_begins() -> None:
    here = [target_here()]
    assert family_of(network("Relu"), SPEC) == "convolutional"
    assert family_of(attention(), SPEC) == "attention"
    assert family_of(recurrent("LSTM"), SPEC) == "recurrent"
    plans = first_plans(network("Relu"), SPEC, here)
    assert {plan.form.representation for plan in plans} == {"qdq"}, "never dynamic convolutions"
    plans = first_plans(attention(), SPEC, here)
    assert plans[0].form.representation == "dynamic"
    assert all(p.elementwise_float for p in plans if p.form.representation != "dynamic")
    wide = first_plans(attention(), SPEC, here, wide=True)
    assert set(plans) < set(wide)
    assert [p.form.representation for p in wide if p.method and not p.elementwise_float] == ["qdq"]
    assert {p.form.representation for p in first_plans(recurrent("LSTM"), SPEC, here)} == {
        "dynamic"
    }
    only = first_plans(network("Relu"), SPEC, here, form=Form(activations="s8"), weight_bits=7)
    assert [(p.form.name, p.form.weight_bits) for p in only] == [("int8-s8s8", 7)]


def test_a_gru_is_told_of_the_lstm() -> None:
    assert "network: lstm" in advice_for(recurrent("GRU"))
    assert advice_for(recurrent("LSTM")) == ""
    int8 = quantize_dynamically(recurrent("LSTM"), Form("dynamic", weight_bits=_HERE))
    assert fusion_of(int8, ()).operators == {"DynamicQuantizeLSTM": 1}


@pytest.mark.parametrize("kind", ["HardSwish", "Gate", "SiLU"])
def test_swish_among_the_layers_is_told_of_relu(kind: str) -> None:
    model = network("Gate" if kind == "SiLU" else kind)
    for node in model.graph.node:
        if kind == "SiLU" and node.op_type == "HardSigmoid":
            node.op_type = "Sigmoid"
    assert "ReLU in place of" in advice_for(model)


def test_a_sigmoid_of_scores_or_of_a_gate_is_no_swish() -> None:
    scored = network("Relu")
    last = scored.graph.node[-1]
    last.output[0] = "pooled"
    scored.graph.node.append(helper.make_node("Sigmoid", ["pooled"], ["y"], name="scores"))
    assert advice_for(scored) == ""
    weighed = network("Relu")
    weighed.graph.node[-1].output[0] = "pooled"
    weighed.graph.node.append(helper.make_node("Sigmoid", ["pooled"], ["s"], name="scores"))
    weighed.graph.node.append(helper.make_node("Mul", ["pooled", "s"], ["y"], name="weighed"))
    assert advice_for(weighed) == "", "in the tail, which is in float anyhow"
    gated = network("Sigmoid")
    for index, node in enumerate([n for n in gated.graph.node if n.op_type == "Conv"][1:]):
        gate = helper.make_node("Mul", [f"c{index}", "x"], [f"m{index}"], name=f"gated{index}")
        gate.input[1] = f"a{index}"
        gate.input[0] = "x"
        node.input[0] = f"m{index}"
        place = list(gated.graph.node).index(node)
        gated.graph.node.insert(place, gate)
    assert advice_for(gated) == "", "the gate is on other values than the sigmoid's own"


def test_products_of_two_activations_stay_in_float_in_dynamic_attention() -> None:
    int8 = quantize_dynamically(attention(), Form("dynamic", weight_bits=_HERE))
    kinds = [node.op_type for node in int8.graph.node]
    assert kinds.count("MatMulInteger") == 3
    assert kinds.count("MatMul") == 2
