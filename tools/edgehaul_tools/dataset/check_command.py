"""``edgehaul data check``: find what is wrong with a dataset."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import click
import msgspec

from edgehaul.errors import DatasetError, GateError
from edgehaul_tools.dataset.check import CheckOptions, check_dataset
from edgehaul_tools.dataset.check_page import findings_page
from edgehaul_tools.dataset.findings import CheckReport, Finding
from edgehaul_tools.dataset.progress import shown_progress
from edgehaul_tools.dataset.read import READERS

_SHOWN = 8
"""Findings of one kind on the terminal; the report holds all."""


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--form",
    type=click.Choice(["auto", *READERS]),
    default="auto",
    show_default=True,
    help="Form of the dataset.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all findings to this file: JSON, or a page with the pictures (.html).",
)
@click.option(
    "--suspects",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Most likely label errors to name; 0 does not look for them.",
)
@click.option(
    "--per-class",
    type=click.IntRange(10),
    default=500,
    show_default=True,
    help="Most objects of a class to learn from when judging labels.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same report."
)
@click.option("--strict", is_flag=True, help="Exit with 3 if there are errors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(  # noqa: PLR0913 - one for each option
    dataset: Path,
    form: str,
    out: Path | None,
    suspects: int,
    per_class: int,
    seed: int,
    *,
    strict: bool,
    as_json: bool,
) -> None:
    """Find what is wrong with DATASET: pictures, trips or series.

    Damaged files, boxes outside of their picture, duplicates and near-duplicates, leaks
    between its parts, classes without samples, labels that are likely wrong, and files that
    differ from the manifest.
    """
    with shown_progress("looking") as progress:
        report = check_dataset(dataset, form, CheckOptions(per_class, suspects, seed), progress)
    if out is not None:
        _write(report, out)
    if as_json:
        click.echo(_encoded(report))
    else:
        _print(report, out)
    if strict and report.counts["error"]:
        raise GateError(
            f"{report.counts['error']} errors are in this dataset",
            where=dataset,
            remedy="mend them, or run without --strict",
        )


def _encoded(report: CheckReport) -> bytes:
    return msgspec.json.encode({**msgspec.structs.asdict(report), "counts": report.counts})


def _write(report: CheckReport, out: Path) -> None:
    """Write all findings; where that fails, what was at ``out`` is still there."""
    partial = out.with_name(out.name + ".partial")
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() in {".html", ".htm"}:
            partial.write_text(findings_page(report), encoding="utf-8")
        else:
            partial.write_bytes(msgspec.json.format(_encoded(report), indent=1) + b"\n")
        partial.replace(out)
    except OSError as error:
        raise DatasetError(
            f"cannot write the report: {(error.strerror or str(error)).lower()}",
            where=out,
            remedy="check the path, its permissions and the free space, then run it again",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where it cannot be made there is none
            partial.unlink(missing_ok=True)


def _print(report: CheckReport, out: Path | None) -> None:
    click.echo(
        f"{report.path} ({report.form}): {report.items} items, {report.objects} marks, "
        f"{report.duration_s:.1f} s"
    )
    of_kind = Counter(finding.kind for finding in report.findings)
    shown: Counter[str] = Counter()
    for finding in report.findings:
        shown[finding.kind] += 1
        if shown[finding.kind] <= _SHOWN:
            click.echo(_line(finding))
        elif shown[finding.kind] == of_kind[finding.kind]:
            click.echo(f"         and {of_kind[finding.kind] - _SHOWN} more of {finding.kind}")
    for note in report.notes:
        click.echo(note)
    counts = ", ".join(f"{count} {severity}s" for severity, count in report.counts.items())
    rest = f"; all of them in {out}" if out else ""
    click.echo(f"found {counts}{rest}")


def _line(finding: Finding) -> str:
    where = f"{finding.where}: " if finding.where else ""
    return f"{finding.severity:8} {finding.kind:15} {where}{finding.what}; {finding.remedy}"
