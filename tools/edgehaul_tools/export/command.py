"""``edgehaul export``: from a run directory to an ONNX model."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul.bundle.spec import SequenceInput
from edgehaul_tools.export.run import export_run
from edgehaul_tools.export.temperature import parse_temperature
from edgehaul_tools.train.run_directory import read_run


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The ONNX file.",
)
@click.option(
    "--temperature",
    metavar="T",
    default="1",
    help="Divide a classifier's logits by T: a number, or report.json of `evaluate --calibrate`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(run: Path, out: Path, temperature: str, *, as_json: bool) -> None:
    """Export the model of RUN (from `edgehaul train`) to ONNX, and compare both."""
    report = export_run(run, out, temperature=parse_temperature(temperature))
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    difference = max(report.parity.values())
    click.echo(
        f"exported {out} ({report.size_bytes / 1024:.0f} KiB, {report.exporter}); "
        f"largest difference from torch {difference:.1e}"
    )
    takes_windows = isinstance(read_run(run).spec.input, SequenceInput)
    calibration = "TRACES" if takes_windows else "IMAGES"
    click.echo(f"next: edgehaul quantize {out} --calib {calibration} --out MODEL_FOLDER")
