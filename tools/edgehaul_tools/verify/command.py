"""``edgehaul verify``: prove that every variant of a model answers as fp32 does."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.split import split
from edgehaul_tools.verify.verify import (
    Gate,
    VariantProof,
    Verification,
    raise_unless_passed,
    verify_directory,
)

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("directory", type=_PATH)
@click.option("--frames", type=_PATH, help="Folder of images, video or GPS traces, no labels.")
@click.option(
    "--data",
    type=_PATH,
    help="Labelled dataset; of `edgehaul train` the run's test.json, which it did not learn from.",
)
@click.option(
    "--part",
    type=click.Choice(["all", "train", "val", "test"]),
    default="all",
    show_default=True,
    help="Part of --data, as `edgehaul data split` makes it by default.",
)
@click.option("--run", type=_PATH, help="Run directory that the model is from: compare with torch.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Largest loss of mAP50 against fp32.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="With fp32, where there are no labels.",
)
@click.option("--limit", type=click.IntRange(0), default=0, help="Most inputs of --frames; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(  # noqa: PLR0913, PLR0917 - one for each option
    directory: Path,
    frames: Path | None,
    data: Path | None,
    part: str,
    run: Path | None,
    max_drop: float,
    min_agreement: float,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Compare fp32 and int8 of a model DIRECTORY on the same inputs.

    Exit code 3 where the gate is not met: on labelled data mAP50 must not drop by more than
    --max-drop, else the answers must agree to --min-agreement.
    """
    proof = verify_directory(
        directory,
        frames=frames,
        data=_dataset(data, part) if data is not None else None,
        run=run,
        gate=Gate(max_drop, min_agreement),
        limit=limit,
        progress=lambda line: click.echo(line, err=True),
    )
    if as_json:
        click.echo(msgspec.json.encode(proof))
    else:
        _print(proof)
    raise_unless_passed(proof, directory)


def _dataset(path: Path, part: str) -> DetectionDataset:
    dataset = read_dataset(path)
    if part == "all":
        return dataset
    chosen: DetectionDataset = getattr(split(dataset), part)
    return chosen


def _print(proof: Verification) -> None:
    proofs = list(proof.models.values())
    base = proofs[0]
    click.echo(
        f"{'':14}{'agreement':>10}{'mAP50':>8}{'mAP50-95':>10}{'ms':>9}{'time':>7}{'size':>7}"
    )
    for one in proofs:
        click.echo(_row(one, base))
    for one in proofs:
        for line in one.warnings:
            click.echo(f"warning: {one.name}: {line}")
    if proof.torch is not None:
        furthest = max(proof.torch.difference.values())
        click.echo(f"torch and fp32 differ by {furthest:.1e} at most ({proof.torch.inputs} inputs)")
    counted = base.agreement.inputs if base.agreement else 0
    click.echo(f"{counted} inputs, ONNX Runtime {proof.runtime}, 1 thread")


def _row(one: VariantProof, base: VariantProof) -> str:
    agreed = f"{one.agreement.f1:.3f}" if one.agreement else "-"
    map50 = f"{one.accuracy.map50:.3f}" if one.accuracy else "-"
    map50_95 = f"{one.accuracy.map50_95:.3f}" if one.accuracy else "-"
    return (
        f"{one.name:14}{agreed:>10}{map50:>8}{map50_95:>10}{one.latency_ms:>9.2f}"
        f"{one.latency_ms / base.latency_ms:>7.2f}{one.size_bytes / base.size_bytes:>7.2f}"
    )
