"""``edgehaul prune``: from a run to a run with fewer channels."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.prune.options import PruneOptions
from edgehaul_tools.prune.prune import prune_run, train_control
from edgehaul_tools.prune.removal import LayerChange, Ranking
from edgehaul_tools.prune.report import PruneReport
from edgehaul_tools.train.progress_display import shown

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=_FOLDER, required=True, help="The new run directory.")
@click.option(
    "--share",
    type=FiniteRange(0, 1, max_open=True),
    default=0.0,
    help="Share of the channels to remove, such as 0.5: a faster model.",
)
@click.option(
    "--sparsity",
    type=FiniteRange(0, 1, max_open=True),
    default=0.0,
    help="Share of the single weights to set to zero: smaller when compressed, but no faster.",
)
@click.option(
    "--importance",
    type=click.Choice(["l1", "l2", "bn-scale", "taylor"]),
    default="l1",
    show_default=True,
    help="What says which channels matter.",
)
@click.option(
    "--scope",
    type=click.Choice(["uniform", "global"]),
    default="uniform",
    show_default=True,
    help="Remove the share of each layer, or the least important channels of all.",
)
@click.option(
    "--round-to",
    type=int,
    default=16,
    show_default=True,
    help="Multiple of channels that runs fast; narrow layers take 8; 1 rounds nothing.",
)
@click.option(
    "--steps", type=int, default=1, show_default=True, help="Remove and learn again so often."
)
@click.option(
    "--epochs",
    type=int,
    default=0,
    help="Epochs of learning again, over all steps; default: the recipe's.",
)
@click.option(
    "--distill",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the dense network's answers in the loss; 0: none.",
)
@click.option(
    "--sparse-epochs",
    type=int,
    default=0,
    help="Epochs before, in which scales of batch norms shrink; needs --importance bn-scale.",
)
@click.option("--dataset", type=click.Path(path_type=Path), help="Where RUN's dataset is now.")
@click.option("--seed", type=click.IntRange(0), help="Of the training; default: the recipe's.")
@click.option(
    "--control", type=_FOLDER, help="Train the dense network on as long, too, into this folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def prune(  # noqa: PLR0913, PLR0917 - one for each option
    run: Path,
    out: Path,
    share: float,
    sparsity: float,
    importance: str,
    scope: str,
    round_to: int,
    steps: int,
    epochs: int,
    distill: float,
    sparse_epochs: int,
    dataset: Path | None,
    seed: int | None,
    control: Path | None,
    *,
    as_json: bool,
) -> None:
    """Remove channels or weights from the model of RUN (from `edgehaul train`); learn again.

    It learns from the very pictures or traces that RUN learnt from. OUT is a run as RUN is.
    """
    ranking = msgspec.convert(
        {"importance": importance, "scope": scope, "round_to": round_to}, Ranking
    )
    options = PruneOptions(
        share=share,
        sparsity=sparsity,
        ranking=ranking,
        steps=steps,
        epochs=epochs,
        distill=distill,
        sparse_epochs=sparse_epochs,
        seed=seed,
    )

    def say(line: str) -> None:
        if not as_json:
            click.echo(line, err=True)

    with shown(as_json=as_json) as progress:
        report = prune_run(run, out, options, progress, dataset=dataset, say=say)
    beside: dict[str, float] | None = None
    if control is not None:
        with shown(as_json=as_json) as progress:
            trained = train_control(run, control, options, progress, dataset=dataset, say=say)
        beside = trained.metrics
    if as_json:
        extra = {} if beside is None else {"control": beside}
        click.echo(msgspec.json.encode({**msgspec.to_builtins(report), "out": str(out), **extra}))
        return
    _print(report, beside, out)


def _print(report: PruneReport, control: dict[str, float] | None, out: Path) -> None:
    for change in report.layers:
        click.echo(_line(change))
    before, after = report.before, report.after
    if report.layers:
        click.echo(
            f"removed {report.share:.0%} of the channels: {before.parameters} -> "
            f"{after.parameters} weights, {before.macs / 1e6:.1f} -> {after.macs / 1e6:.1f} "
            "million multiplications"
        )
    if report.download and report.download_before:
        dense, sparse = report.download_before, report.download
        click.echo(
            f"{sparse.zeros:.0%} of the weights are zero. That makes nothing faster; a compressed "
            f"download of them as int8 has {sparse.compressed_bytes / 1e6:.2f} MB instead of "
            f"{dense.compressed_bytes / 1e6:.2f}"
        )
    named = {"before": report.metrics_before, "now": report.metrics}
    if control is not None:
        named["dense, trained on as long"] = control
    for name, metrics in named.items():
        figures = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
        click.echo(f"{name}: {figures or 'no validation part'}")
    click.echo(f"next: edgehaul export {out} --out model.onnx")


def _line(change: LayerChange) -> str:
    reason = f"  ({change.reason})" if change.reason else ""
    return f"  {change.name:<32} {change.before:>5} -> {change.after:<5}{reason}"
