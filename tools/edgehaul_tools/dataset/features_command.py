"""``edgehaul data features``: which features of a dataset tell its labels apart."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--window", type=click.IntRange(2), default=16, show_default=True, help="Steps.")
@click.option(
    "--interval-s", type=click.FloatRange(0.001), default=1.0, show_default=True, help="Of a step."
)
@click.option("--out", type=click.Path(path_type=Path), help="HTML report to write.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Same seed, same result.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def features(
    dataset: Path, window: int, interval_s: float, out: Path | None, seed: int, *, as_json: bool
) -> None:
    """Rank the features of labelled traces or series, and recommend some."""
    # scikit-learn takes a second to import: not for the sake of the help.
    from edgehaul_tools.dataset.feature_selection import rank_features  # noqa: PLC0415

    ranking = rank_features(dataset, window=window, interval_s=interval_s, seed=seed)
    if out is not None:
        from edgehaul_tools.dataset.feature_report import write_report  # noqa: PLC0415 - matplotlib

        write_report(ranking, out)
    click.echo(json.dumps(ranking.as_dict()) if as_json else ranking.as_text())
