"""``edgehaul quantize``: make an int8 model of any ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
import msgspec

from edgehaul.errors import UsageError
from edgehaul_tools.export.spec_choice import read_labels
from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.quantize import trial_options
from edgehaul_tools.quantize.calibrate import Method
from edgehaul_tools.quantize.directory import ModelDirectory
from edgehaul_tools.quantize.family import ROUTES
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.model_name import model_name
from edgehaul_tools.quantize.quantize import (
    DEFAULT_AGREEMENT,
    DEFAULT_LIMIT,
    Options,
    QuantizeReport,
    quantize_model,
)
from edgehaul_tools.quantize.saturation import WeightBits
from edgehaul_tools.quantize.search import METHODS
from edgehaul_tools.quantize.target import HERE, TARGETS, target_named

_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_BITS: dict[str, WeightBits] = {str(bits): bits for bits in get_args(WeightBits)}
_METHOD: dict[str, Method] = {method: method for method in get_args(Method)}


@click.command()
@click.argument("model", type=_PATH)
@click.option(
    "--calib", type=_PATH, help="Folder of images, COCO file, video, or folder of GPS traces."
)
@click.option("--out", type=_FOLDER, required=True, help="Model directory to write.")
@click.option("--spec", type=_PATH, help="Input and output of the model, as YAML.")
@click.option("--labels", type=_PATH, help="Names of the classes, one a line.")
@model_name
@click.option(
    "--images",
    type=click.IntRange(1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Most inputs to calibrate on.",
)
@click.option(
    "--min-agreement",
    type=FiniteRange(0, 1),
    default=DEFAULT_AGREEMENT,
    show_default=True,
    help="Agreement with fp32 to search for.",
)
@click.option(
    "--target",
    type=click.Choice([HERE, *TARGETS]),
    default=HERE,
    show_default=True,
    help="Kind of processor that the model is for; auto: as here.",
)
@click.option(
    "--form",
    type=click.Choice(["auto", "u8s8", "s8s8", "u8u8", "dynamic"]),
    default="auto",
    show_default=True,
    help="Numbers of activations and weights; auto: those that are fast on the target.",
)
@click.option("--per-tensor", is_flag=True, help="One scale a layer; only with --form.")
@click.option(
    "--qoperator", is_flag=True, help="Integer operators in place of QDQ; only with --form."
)
@click.option(
    "--method",
    type=click.Choice(["auto", *get_args(Method)]),
    default="auto",
    show_default=True,
    help="Choice of the activations' ranges; auto: the one that keeps the answers best.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["auto", *map(str, get_args(WeightBits))]),
    default="auto",
    show_default=True,
    help="7 for x86 boxes without VNNI, where sums of wider products overflow; auto: as here.",
)
@click.option(
    "--input",
    "taken",
    type=click.Choice(["as-is", "bytes"]),
    default="as-is",
    show_default=True,
    help="bytes: normalise in the graph, so that the box only scales the picture.",
)
@trial_options.seconds
@trial_options.memory
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def quantize(  # noqa: PLR0913, PLR0917 - one for each option
    model: Path,
    calib: Path | None,
    out: Path,
    spec: Path | None,
    labels: Path | None,
    name: str,
    images: int,
    min_agreement: float,
    target: str,
    form: str,
    method: str,
    weight_bits: str,
    taken: str,
    trial_seconds: float,
    trial_memory: float,
    *,
    per_tensor: bool,
    qoperator: bool,
    as_json: bool,
) -> None:
    """Make an int8 model of any ONNX MODEL.

    The spec is taken from --spec, from the model's metadata, or guessed and printed.
    """
    options = Options(
        name=name,
        spec_file=spec,
        labels=read_labels(labels) if labels else (),
        limit=images,
        min_agreement=min_agreement,
        target=target_named(target),
        form=_form(form, per_tensor=per_tensor, qoperator=qoperator),
        weight_bits=_BITS.get(weight_bits),
        methods=METHODS if method == "auto" else (_METHOD[method],),
        limits=trial_options.limits_of(trial_seconds, trial_memory),
        byte_input=taken == "bytes",
    )
    directory, report = quantize_model(
        model, out, calib, options, progress=lambda line: click.echo(line, err=True)
    )
    if as_json:
        click.echo(msgspec.json.encode({"model": directory, "report": report}))
    else:
        _print(out, directory, report)


def _form(name: str, *, per_tensor: bool, qoperator: bool) -> Form | None:
    if name == "auto":
        if per_tensor or qoperator:
            given = "--per-tensor" if per_tensor else "--qoperator"
            raise UsageError(f"{given} needs a --form", remedy="give --form u8s8, say")
        return None
    if name == "dynamic":
        return Form("dynamic", per_channel=not per_tensor)
    return Form(
        "qoperator" if qoperator else "qdq",
        activations="u8" if name.startswith("u8") else "s8",
        weights="s8" if name.endswith("s8") else "u8",
        per_channel=not per_tensor,
    )


def _print(out: Path, directory: ModelDirectory, report: QuantizeReport) -> None:
    spec = msgspec.json.format(msgspec.json.encode(directory.spec.input), indent=0).decode()
    head, plan = directory.spec.output, report.plan
    click.echo(
        f"spec            {directory.spec.task}, head {head.head}, {len(head.labels)} labels"
    )
    click.echo(f"input           {' '.join(spec.split())}")
    click.echo(f"network         {report.family}: {ROUTES[report.family].why}")
    click.echo(f"target          {report.target}: {TARGETS[report.target].why}")
    click.echo(f"int8            {plan.summary}; weights of {plan.form.weight_bits} bits")
    click.echo(f"calibration     {report.inputs} inputs")
    click.echo(f"left in float   {len(plan.float_units)} of {report.layers} layers")
    click.echo(f"int8 kernels    {report.fusion.integer}")
    if report.agreement is not None and report.latency_ratio is not None:
        click.echo(f"agreement       {report.agreement:.3f} (calibration inputs)")
        click.echo(f"time            {report.latency_ratio:.2f} of fp32 (roughly)")
    click.echo(f"size            {report.size_ratio:.2f} of fp32")
    for line in report.warnings:
        click.echo(f"warning         {line}")
    click.echo(f"next            edgehaul verify {out}")
