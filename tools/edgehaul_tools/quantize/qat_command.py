"""``edgehaul qat``: train a model on with int8 in the loop."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.prune.teaching import USUAL_SHARE, taught_by, teaching_notes
from edgehaul_tools.quantize.saturation import weight_bits_here
from edgehaul_tools.train.continued import open_run_recipe
from edgehaul_tools.train.progress_display import shown
from edgehaul_tools.train.qat.training import Course, Int8, learn_rounded
from edgehaul_tools.train.run_directory import TrainingRun


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The run directory to write.",
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Passes over the data; else a quarter of RUN's."
)
@click.option(
    "--learning-rate",
    type=FiniteRange(0, min_open=True),
    help="The highest rate; else a tenth of RUN's.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["auto", "7", "8"]),
    default="auto",
    show_default=True,
    help="Width of the weights: 7 where int8 products overflow, as auto finds out here.",
)
@click.option(
    "--per-tensor", is_flag=True, help="One step for a layer's weights, not for each channel."
)
@click.option(
    "--distill",
    type=FiniteRange(0, 1),
    default=USUAL_SHARE,
    show_default=True,
    help="Share of the float model's answers in the loss; 0 learns from labels alone.",
)
@click.option("--dataset", type=click.Path(path_type=Path), help="Where the dataset of RUN is now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def qat(  # noqa: PLR0913 - one for each option
    run: Path,
    out: Path,
    epochs: int | None,
    learning_rate: float | None,
    weight_bits: str,
    distill: float,
    dataset: Path | None,
    *,
    per_tensor: bool,
    as_json: bool,
) -> None:
    """Train the model of RUN (from `edgehaul train`) on with int8 in the loop.

    For models that lose too much when they are quantized after the training. What is written is
    a run as any other: export and quantize it, with the same weights' form as here.
    """
    given = open_run_recipe(run, dataset)
    bits = weight_bits_here() if weight_bits == "auto" else int(weight_bits)
    form = Int8(weight_bits=bits, per_channel=not per_tensor)
    with shown(as_json=as_json) as progress:
        learnt = learn_rounded(
            given,
            out,
            form,
            Course(epochs, learning_rate, teaching_notes(distill)),
            progress=progress,
            taught=taught_by(given, distill),
        )
    _print(given.run, learnt, out, form, as_json=as_json)


def _print(before: TrainingRun, run: TrainingRun, out: Path, form: Int8, *, as_json: bool) -> None:
    if as_json:
        summary = {
            "run": str(out),
            "kind": run.kind,
            "weight_bits": form.weight_bits,
            "per_channel": form.per_channel,
            "ranges": len(run.ranges),
            "metrics": run.metrics,
            "metrics_before": before.metrics,
            "wall_s": run.wall_s,
        }
        click.echo(json.dumps(summary))
        return
    weights = f"{form.weight_bits}-bit weights, a step for each "
    weights += "channel" if form.per_channel else "layer"
    click.echo(f"learnt {len(run.ranges)} ranges ({weights}; {run.wall_s:.0f} s)")
    for name, value in run.metrics.items():
        was = f", float before {before.metrics[name]:.4f}" if name in before.metrics else ""
        click.echo(f"  {name} rounded {value:.4f}{was}")
    click.echo(f"next: edgehaul export {out} --out model.onnx")
