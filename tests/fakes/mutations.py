"""Damage to a model file: bits turned, parts cut or moved, and fields of the graph changed."""

from __future__ import annotations

import random

import onnx


def mutated(content: bytes, seed: int) -> bytes:
    """Return a model file with damage that the seed alone decides."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return _fields(content, chance)
    data = bytearray(content)
    kind = chance.choice(["flip", "cut", "splice", "zero", "insert", "head"])
    if kind == "cut":
        return bytes(data[: chance.randrange(len(data))])
    if kind in {"flip", "head"}:
        # The first tenth of many files holds no weights, and is where damage tells.
        end = len(data) if kind == "flip" else max(1, len(data) // 10)
        for _ in range(chance.randint(1, 30)):
            data[chance.randrange(end)] ^= 1 << chance.randrange(8)
        return bytes(data)
    start, length = chance.randrange(len(data)), chance.randint(1, 4000)
    part = bytes(length) if kind == "zero" else data[start : start + length]
    at = chance.randrange(len(data))
    data[at : at if kind == "insert" else at + length] = part
    return bytes(data)


def _fields(content: bytes, chance: random.Random) -> bytes:
    """Damage that every parser reads: what only the graph's own rules forbid."""
    model = onnx.load_model_from_string(content)
    for _ in range(chance.randint(1, 4)):
        chance.choice([_dims, _operator, _wire, _attribute, _lost, _opset, _shape, _kind])(
            model, chance
        )
    return model.SerializeToString()


_NUMBERS = (-1, 0, 1, 2, 3, 255, 2**20, 2**31 - 1, 2**31, 2**40, 2**62, -(2**62))


def _dims(model: onnx.ModelProto, chance: random.Random) -> None:
    tensor = chance.choice(model.graph.initializer)
    if tensor.dims:
        tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(_NUMBERS)


def _operator(model: onnx.ModelProto, chance: random.Random) -> None:
    names = [node.op_type for node in model.graph.node]
    names += ["Loop", "If", "Scan", "NonZero", "Range", "Tile", "Einsum", "Resize", "LSTM"]
    chance.choice(model.graph.node).op_type = chance.choice(names)


def _wire(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    made = [name for other in model.graph.node for name in (*other.input, *other.output)]
    side = chance.choice([node.input, node.output])
    if side:
        side[chance.randrange(len(side))] = chance.choice([*made, "", "nothing"])


def _attribute(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice([n for n in model.graph.node if n.attribute])
    attribute = chance.choice(node.attribute)
    if attribute.ints:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(_NUMBERS)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = chance.choice(_NUMBERS)
    else:
        attribute.f = chance.choice([float("nan"), float("inf"), -1.0, 1e30])


def _lost(model: onnx.ModelProto, chance: random.Random) -> None:
    part = chance.choice([model.graph.node, model.graph.initializer, model.graph.output])
    if part:
        del part[chance.randrange(len(part))]


def _opset(model: onnx.ModelProto, chance: random.Random) -> None:
    chance.choice(model.opset_import).version = chance.choice([-1, 0, 1, 6, 10, 18, 25, 99])


def _shape(model: onnx.ModelProto, chance: random.Random) -> None:
    value = chance.choice([*model.graph.input, *model.graph.output, *model.graph.value_info])
    dims = value.type.tensor_type.shape.dim
    if dims:
        chance.choice(dims).dim_value = chance.choice(_NUMBERS)


def _kind(model: onnx.ModelProto, chance: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output]
    chance.choice([*values, *model.graph.initializer])
    tensor = chance.choice(model.graph.initializer)
    tensor.data_type = chance.randint(0, 25)
