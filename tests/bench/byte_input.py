"""What bytes as input gain: time of a frame's tensor and of its model, as-is and with bytes.

Both int8 models are made with one form and one choice of ranges, so that nothing but the input
differs, and are run in turns on one thread; times are medians of its processor time. Run::

    python tests/bench/byte_input.py MODEL --calib PICTURES [--spec FILE] [--images 20]
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.vision.preprocess import Canvas, TensorBuffer
from edgehaul_tools.export.runtime import Run, runner
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.pictures import Pictures
from edgehaul_tools.quantize.quantize import Options, quantize_model
from edgehaul_tools.quantize.saturation import weight_bits_here

ROUNDS, WARM_UP, PICTURES = 100, 5, 10


@dataclass(frozen=True)
class Way:
    """One way from a canvas to the answers."""

    canvas: Canvas
    tensor: TensorBuffer
    run: Run

    def times_ms(self, picture: NDArray[np.uint8]) -> tuple[float, float]:
        """Return what the tensor and the model take of a picture."""
        self.canvas.place(picture)
        started = time.thread_time()
        tensor = self.tensor.fill(self.canvas)
        made = time.thread_time()
        self.run(tensor)
        return (made - started) * 1000, (time.thread_time() - made) * 1000


def ways(chosen: argparse.Namespace, folder: Path) -> dict[str, Way]:
    """Quantize the model in both ways; return how each variant is run."""
    found = {}
    for name in ("as-is", "bytes"):
        options = Options(
            spec_file=chosen.spec,
            limit=chosen.images,
            min_agreement=0.0,
            form=Form(weight_bits=weight_bits_here()),
            methods=("minmax",),
            byte_input=name == "bytes",
        )
        directory, _ = quantize_model(chosen.model, folder / name, chosen.calib, options)
        assert isinstance(directory.spec.input, ImageInput)
        for variant in directory.variants:
            found[f"{variant.precision} {name}"] = Way(
                Canvas(directory.spec.input),
                TensorBuffer(directory.spec.input),
                runner(folder / name / variant.path),
            )
    return found


def main() -> None:
    """Print a line for each variant and way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--images", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = ways(chosen, Path(folder))
    pictures = list(Pictures(chosen.calib, PICTURES))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
    for turn in range(WARM_UP + ROUNDS):
        for name, way in every.items():
            times[name].append(way.times_ms(pictures[turn % len(pictures)]))
    sys.stdout.write(f"{'ms a frame':12} {'tensor':>7} {'model':>7} {'both':>7}\n")
    for name, taken in times.items():
        tensor, model = np.median(taken[WARM_UP:], axis=0)
        sys.stdout.write(f"{name:12} {tensor:7.2f} {model:7.2f} {tensor + model:7.2f}\n")


if __name__ == "__main__":
    main()
