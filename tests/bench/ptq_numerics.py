"""What ranges, equalisation and bias correction are worth where channels differ a lot.

A ResNet-18 learns scikit-learn's handwritten digits (8x8, shown at 32x32; the first half is learnt
from, the second measured on). Then the channels between the convolutions of each residual block
are scaled by 2 ** U(-reach, reach) and the next weights by the inverse, which leaves the float
answers as they are: what a badly trained batch normalisation leaves behind. All of it is
quantized to U8 activations and S8 weights, one scale for each tensor, in every combination of
method, equalisation and bias correction.

``simulated``: Q/DQ computed in float with 8-bit weights, as processors with VNNI answer.
``here``: ONNX Runtime's integer kernels on this machine, with the weight bits right for it. Run::

    python tests/bench/ptq_numerics.py --seeds 3 --networks build/digits
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from saying import say
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from edgehaul_tools.export.onnx_model import TensorNames, export_module
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.bias import corrected
from edgehaul_tools.quantize.calibrate import Histograms, Method, Ranges, activation_tensors
from edgehaul_tools.quantize.equalize import Equalized, equalize
from edgehaul_tools.quantize.graph import clean, divide, float_region, load_model
from edgehaul_tools.quantize.saturation import WeightBits, weight_bits_here
from edgehaul_tools.quantize.sqnr import layer_sqnr
from edgehaul_tools.train.architectures.resnet import ResNet

METHODS: tuple[Method, ...] = ("minmax", "moving-average", "percentile", "entropy", "mse")
SIDE_PX, EPOCHS, BATCH = 32, 10, 64
SHIFT_PX = 2
CALIBRATION, CORRECTION = 200, 64
Pictures = NDArray[np.float32]


def digits() -> tuple[Pictures, NDArray[np.int64]]:
    """Return all pictures (N, 3, SIDE_PX, SIDE_PX) and their digits, in the given order."""
    values, truth = load_digits(return_X_y=True)
    small = torch.from_numpy(values.reshape(-1, 1, 8, 8).astype(np.float32) / 8 - 1)
    large = functional.interpolate(small, size=(SIDE_PX, SIDE_PX), mode="bilinear")
    return large.repeat(1, 3, 1, 1).numpy(), truth.astype(np.int64)


def trained(pictures: Pictures, truth: NDArray[np.int64], seed: int) -> nn.Module:
    """Return the network after learning."""
    torch.manual_seed(seed)
    network = ResNet(18, 10)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    images, classes = torch.from_numpy(pictures), torch.from_numpy(truth)
    for _ in range(EPOCHS):
        # Whole batches alone: batch normalisation learns nonsense from the last two pictures.
        for part in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            down, right = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2,)).tolist()
            moved = images[part].roll((down, right), (2, 3))
            functional.cross_entropy(network(moved), classes[part]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def network_of(folder: Path, pictures: Pictures, truth: NDArray[np.int64], seed: int) -> Path:
    """Learn and export the network, with a free batch size, unless the folder has it."""
    path = folder / f"digits-{seed}.onnx"
    if not path.exists():
        started = time.perf_counter()
        network = trained(pictures, truth, seed)
        say(f"seed {seed}: learnt in {time.perf_counter() - started:.0f} s")
        example = torch.zeros(2, 3, SIDE_PX, SIDE_PX)
        export_module(network, example, TensorNames(("input",), ("output",)), path)
    return path


def imbalanced(model: onnx.ModelProto, reach: float, seed: int) -> onnx.ModelProto:
    """Return the model with the same answers and channels scaled by 2 ** U(-reach, reach)."""
    random = np.random.default_rng(seed)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = {node.name: node for node in result.graph.node}
    weights = {tensor.name: tensor for tensor in result.graph.initializer}
    for pair in equalize(model).pairs:
        first, second = nodes[pair.first], nodes[pair.second]
        channels = weights[first.input[1]].dims[0]
        scale = (2.0 ** random.uniform(-reach, reach, channels)).astype(np.float32)
        for name, factor in (
            (first.input[1], scale[:, None, None, None]),
            (first.input[2], scale),
            (second.input[1], 1 / scale[None, :, None, None]),
        ):
            values = numpy_helper.to_array(weights[name]) * factor
            weights[name].CopyFrom(numpy_helper.from_array(values, name))
    return result


def quantized_per_tensor(
    model: onnx.ModelProto, ranges: Ranges, weight_bits: WeightBits
) -> onnx.ModelProto:
    """Return the model with Q/DQ pairs: U8 activations, S8 weights, one scale a tensor."""
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    source = onnx.ModelProto()
    source.CopyFrom(model)
    quantizer = QDQQuantizer(
        source,
        per_channel=False,
        reduce_range=weight_bits == 7,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(float_region(model.graph, divide(model.graph), ())),
        op_types_to_quantize=["Conv", "Gemm", "MaxPool", "Add"],
        extra_options={},
    )
    quantizer.quantize_model()
    result: onnx.ModelProto = quantizer.model.model
    return result


def simulated(model: onnx.ModelProto) -> Callable[[Pictures], Pictures]:
    """Return how to run a model just as it is written: Q/DQ in float, nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda pictures: session.run(None, {"input": pictures})[0]


def fused(model: onnx.ModelProto) -> Callable[[Pictures], Pictures]:
    """Return how to run a model as a box does."""
    run = runner(model)
    return lambda pictures: run(pictures)[0]


def accuracy(
    run: Callable[[Pictures], Pictures], pictures: Pictures, truth: NDArray[np.int64]
) -> float:
    """Return the share of right answers, in percent."""
    parts = zip(np.array_split(pictures, 15), np.array_split(truth, 15), strict=True)
    return 100 * sum(int((run(p).argmax(axis=1) == t).sum()) for p, t in parts) / len(truth)


class Case:
    """One float model, calibrated, and what its int8 forms answer.

    Args:
        model: The float model.
        calibration: Pictures to calibrate and correct on.
        test: Pictures and digits to measure on.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        calibration: Pictures,
        test: tuple[Pictures, NDArray[np.int64]],
    ) -> None:
        self.model, self.test = model, test
        self.fp32 = accuracy(fused(model), *test)
        self.inputs = list(calibration[:CALIBRATION, None])
        self.histograms = Histograms(model, activation_tensors(model), lambda: iter(self.inputs))

    def row(self, method: Method, *, correct: bool) -> tuple[float, float, float]:
        """Return accuracy simulated with 8 bits and here, and the seconds of the correction."""
        ranges, model = self.histograms.ranges(method), self.model
        units = divide(model.graph).units
        answers, started = [], time.perf_counter()
        for bits, run_of in ((8, simulated), (weight_bits_here(), fused)):

            def build(source: onnx.ModelProto, bits: WeightBits = bits) -> onnx.ModelProto:
                return quantized_per_tensor(source, ranges, bits)

            if correct:
                started = time.perf_counter()
                model = corrected(self.model, build, self.inputs[:CORRECTION], units)
                seconds = time.perf_counter() - started
            answers.append(accuracy(run_of(build(model)), *self.test))
        return answers[0], answers[1], seconds if correct else 0.0

    def sqnr(self, method: Method) -> list[float]:
        """Return the signal-to-noise ratio of each layer, in dB."""
        int8 = quantized_per_tensor(self.model, self.histograms.ranges(method), weight_bits_here())
        units = divide(self.model.graph).units
        return list(layer_sqnr(self.model, int8, self.inputs[:16], units).values())


def bench(
    folder: Path, reach: float, methods: Sequence[Method], seed: int
) -> dict[str, tuple[float, float]]:
    """Print the table of one network and return the drops in points: simulated and here."""
    pictures, truth = digits()
    half = len(pictures) // 2
    path = network_of(folder, pictures[:half], truth[:half], seed)
    balanced = clean(load_model(path), where=path)
    test = (pictures[half:], truth[half:])
    odd = imbalanced(balanced, reach, seed)
    started = time.perf_counter()
    equal: Equalized = equalize(odd)
    say(
        f"seed {seed}: equalised {len(equal.pairs)} pairs in {time.perf_counter() - started:.2f} s "
        f"and {equal.rounds} rounds; largest ratio of channels "
        f"{equal.largest_ratio_before:.0f} -> {equal.largest_ratio_after:.1f}"
    )
    cases = {
        "as trained": Case(balanced, pictures[:half], test),
        "imbalanced": Case(odd, pictures[:half], test),
        "imbalanced, equalised": Case(equal.model, pictures[:half], test),
    }
    drops: dict[str, tuple[float, float]] = {}
    say(f"{'model':24}{'ranges':16}{'bias':11}{'fp32':>7}{'simulated':>11}{'here':>8}")
    for name, case in cases.items():
        for method in methods:
            for correct in (False, True):
                eight, here, seconds = case.row(method, correct=correct)
                bias = f"{seconds:.1f} s" if correct else "-"
                say(f"{name:24}{method:16}{bias:11}{case.fp32:7.2f}{eight:11.2f}{here:8.2f}")
                key = f"{name} | {method} | {'corrected' if correct else '-'}"
                drops[key] = (case.fp32 - eight, case.fp32 - here)
        values = case.sqnr("minmax")
        say(
            f"  SQNR of its layers here, minmax: lowest {min(values):.1f}, last {values[-1]:.1f} dB"
        )
    return drops


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1, help="networks and imbalances")
    parser.add_argument("--reach", type=float, default=4.0, help="scales are 2 ** U(-reach, reach)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--networks", type=Path, help="folder that keeps the learnt networks")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the comparison."""
    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.ERROR)  # ONNX Runtime's quantizer is chatty
    chosen = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.networks or Path(temporary)
        found = [bench(folder, chosen.reach, chosen.methods, seed) for seed in range(chosen.seeds)]
    say(f"\ndrop in points, mean over the seeds: simulated, here ({weight_bits_here()} bits)")
    for key in found[0]:
        eight, here = np.mean([drops[key] for drops in found], axis=0)
        say(f"{key:52}{eight:8.2f}{here:8.2f}")


if __name__ == "__main__":
    main()
