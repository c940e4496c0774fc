"""``edgehaul data features``: which features of a dataset tell its labels apart."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgehaul_tools.dataset.progress import shown_progress
from edgehaul_tools.finite import FiniteRange


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--window", type=click.IntRange(2, 4096), default=16, show_default=True, help="Steps at once."
)
@click.option(
    "--interval-s",
    type=FiniteRange(0.001, 86_400),
    default=1.0,
    show_default=True,
    help="Time between two steps.",
)
@click.option(
    "--labelled-only",
    is_flag=True,
    help="Leave out what is outside all spans, instead of calling it normal.",
)
@click.option("--out", type=click.Path(path_type=Path), help="HTML report to write.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same result."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def features(
    dataset: Path,
    window: int,
    interval_s: float,
    out: Path | None,
    seed: int,
    *,
    labelled_only: bool,
    as_json: bool,
) -> None:
    """Rank the features of labelled traces or series, and recommend some.

    A feature is recommended if a model of recordings that it has not seen would miss it.
    """
    # scikit-learn and matplotlib take seconds to import: not for the sake of the help.
    from edgehaul_tools.dataset.feature_report import (  # noqa: PLC0415 - see above
        ranking_record,
        ranking_text,
        write_report,
    )
    from edgehaul_tools.dataset.feature_selection import rank_features  # noqa: PLC0415 - see above

    with shown_progress("ranking") as progress:
        ranking = rank_features(
            dataset,
            window=window,
            interval_s=interval_s,
            seed=seed,
            labelled_only=labelled_only,
            progress=progress,
        )
    if out is not None:
        write_report(ranking, out)
    click.echo(json.dumps(ranking_record(ranking)) if as_json else ranking_text(ranking))
