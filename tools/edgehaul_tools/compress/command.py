"""``edgehaul compress``: the fastest form of a model that is as good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from edgehaul.errors import GateError, UsageError
from edgehaul_tools.compress.beginning import place_for, require_possible
from edgehaul_tools.compress.compress import compress as search
from edgehaul_tools.compress.journal import holds_nothing
from edgehaul_tools.compress.live import shown
from edgehaul_tools.compress.material import Given, gather
from edgehaul_tools.compress.networks import WORK
from edgehaul_tools.compress.options import (
    DEFAULT_BUDGET_S,
    DEFAULT_MAX_DROP_POINTS,
    Options,
)
from edgehaul_tools.compress.report import rows_of, write_page
from edgehaul_tools.compress.result import Compression
from edgehaul_tools.export.spec_choice import read_labels
from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.quantize import trial_options
from edgehaul_tools.quantize.model_name import model_name
from edgehaul_tools.quantize.quantize import DEFAULT_LIMIT
from edgehaul_tools.quantize.target import HERE, TARGETS, target_named

_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")


class _Duration(click.ParamType[float]):
    """A time such as 90, 90s, 15m or 2h."""

    name = "duration"

    def convert(
        self,
        value: str | float,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(value.strip())
        if not match:
            self.fail(f"{value!r} is no time; give 90s, 15m or 2h", param, ctx)
        return float(match[1]) * _SECONDS[match[2] or "s"]


@click.command()
@click.argument("model", type=_PATH)
@click.option("--out", type=_FOLDER, required=True, help="Model directory to write.")
@click.option(
    "--calib",
    type=_PATH,
    help="Pictures, video or traces that ranges are measured on; of a run its training part.",
)
@click.option(
    "--data", type=_PATH, help="Labelled data to choose by; of a run its validation part."
)
@click.option(
    "--proof",
    type=_PATH,
    help="Other labelled data to prove the choice on; of a run its test part, else --data.",
)
@click.option("--frames", type=_PATH, help="Without labels: what fp32 and int8 are compared on.")
@click.option("--spec", type=_PATH, help="Input and output of the model, as YAML.")
@click.option("--labels", type=_PATH, help="Names of the classes, one a line.")
@model_name
@click.option(
    "--max-drop",
    type=FiniteRange(0, 100),
    default=DEFAULT_MAX_DROP_POINTS,
    show_default=True,
    help="Largest loss on labelled data, in points (hundredths of the metric).",
)
@click.option("--sure", is_flag=True, help="The whole 95 % interval must be within --max-drop.")
@click.option(
    "--min-agreement",
    type=FiniteRange(0, 1),
    help="Least agreement with fp32, without labels.  [default: 0.97 of detections, 0.99 of "
    "other answers]",
)
@click.option("--min-speedup", type=FiniteRange(1), help="fp32 time / int8 time to reach.")
@click.option(
    "--target",
    "targets",
    type=click.Choice([HERE, *TARGETS]),
    multiple=True,
    help="Kind of processor; may be repeated: the bundle then holds a variant for each.  "
    "[default: as here]",
)
@click.option(
    "--prune",
    type=FiniteRange(0, 0.95, min_open=True),
    multiple=True,
    metavar="SHARE",
    help="Also try without this share of the channels; MODEL is a run directory. May be repeated.",
)
@click.option(
    "--qat",
    "qat_epochs",
    type=click.IntRange(0),
    default=0,
    metavar="EPOCHS",
    help="Also train on for so many epochs with int8 in the loop; MODEL is a run directory.",
)
@click.option(
    "--budget",
    "budget_s",
    type=_Duration(),
    default=DEFAULT_BUDGET_S,
    help="Time to search in, such as 90s or 2h; trainings may take longer.  [default: 15m]",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Most inputs to calibrate and, without labels, to compare on.",
)
@trial_options.seconds
@trial_options.memory
@click.option("--resume", is_flag=True, help="Go on with the search that was interrupted in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compress(  # noqa: PLR0913 - one for each option
    model: Path,
    *,
    out: Path,
    calib: Path | None,
    data: Path | None,
    proof: Path | None,
    frames: Path | None,
    spec: Path | None,
    labels: Path | None,
    name: str,
    max_drop: float,
    sure: bool,
    min_agreement: float | None,
    min_speedup: float | None,
    targets: tuple[str, ...],
    prune: tuple[float, ...],
    qat_epochs: int,
    budget_s: float,
    images: int,
    trial_seconds: float,
    trial_memory: float,
    resume: bool,
    as_json: bool,
) -> None:
    """Find the fastest form of MODEL that is as good: an ONNX file or a run directory.

    Tries int8 forms, repairs and mixed precision (of a run directory also pruning and training
    on) and measures each against fp32 on the same data. Writes a proved model directory with
    what is best, and compress.html, which explains. Where nothing is better than fp32, it keeps
    fp32 and says why; exit code 3 then, if --min-speedup was asked for.
    """
    options = Options(
        name=name,
        spec_file=spec,
        labels=read_labels(labels) if labels else (),
        limit=images,
        max_drop=max_drop / 100,
        min_agreement=min_agreement,
        min_speedup=min_speedup,
        sure=sure,
        targets=tuple(target_named(target) for target in targets),
        budget_s=budget_s,
        prune=prune,
        qat_epochs=qat_epochs,
        limits=trial_options.limits_of(trial_seconds, trial_memory),
        resume=resume,
    )
    given = Given(calib, data, proof, frames)
    result = _searched(model, out, given, options, as_json=as_json)
    page = write_page(result, out)
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        _print(result, page, out)
    if min_speedup is not None and result.best_here is None:
        raise GateError(result.verdict, where=model, remedy="lower --min-speedup, or keep fp32")


def _searched(
    model: Path, out: Path, given: Given, options: Options, *, as_json: bool
) -> Compression:
    if not model.exists():
        raise UsageError("there is no such file or folder", where=model, remedy="check the path")
    require_possible(model, out, options)
    with _told_how_to_go_on(out), place_for(out):
        material = gather(model, out / WORK, given)
        with shown(as_json=as_json) as display:
            return search(material, out, options, display.progress, display.told)


@contextmanager
def _told_how_to_go_on(out: Path) -> Iterator[None]:
    """Say that a search that is interrupted can be gone on with, if something was measured."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        if not holds_nothing(out):
            click.echo(f"what was measured is kept in {out}: go on with --resume", err=True)
        raise


def _print(result: Compression, page: Path, out: Path) -> None:
    click.echo(f"{'form':44}{'lost':>32}{'agreement':>11}{'time':>7}{'size':>7}")
    for one, row in zip(result.judged, rows_of(result), strict=True):
        form, _, drop, agreement, time, size, _, why = row
        click.echo(f"{form:44}{drop:>32}{agreement:>11}{time:>7}{size:>7}")
        click.echo(f"    {'-> ' if one.is_chosen else ''}{why}")
    click.echo("* nothing else that was tried is better in all respects")
    for line in result.warnings:
        click.echo(f"warning  {line}")
    click.echo(f"verdict  {result.verdict}")
    click.echo(f"report   {page}")
    click.echo(
        f"next     edgehaul pack {out} --name {result.model} --version 1.0.0 "
        f"--out {result.model}.edgehaul"
    )
