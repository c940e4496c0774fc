"""The ranking of features as text, JSON and a self-contained HTML page with a figure."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.feature_selection import FeatureRanking, RankedFeature, about

_TAKEN, _LEFT = "#2563eb", "#9ca3af"
_ROW_IN = 0.3
_MATRIX_MOST = 40
"""More features than these cannot be read in the correlation matrix."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem;
  color: #1f2937; background: #fff; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.about { color: #6b7280; margin: 0 0 1rem; } pre { background: #f3f4f6; padding: .8rem 1rem;
  border-radius: 6px; overflow-x: auto; white-space: pre-wrap; } img { max-width: 100%;
  display: block; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e5e7eb;
  vertical-align: top; } td.n, th.n { text-align: right; white-space: nowrap; }
tr.taken td:first-child { border-left: 4px solid #2563eb; } tr.left { color: #6b7280; }
td small { color: #6b7280; display: block; } .cards { display: flex; gap: 1rem; flex-wrap: wrap; }
.card { background: #f3f4f6; border-radius: 6px; padding: .6rem 1rem; min-width: 8rem; }
.card b { display: block; font-size: 1.3rem; }
"""


def ranking_record(ranking: FeatureRanking) -> dict[str, object]:
    """Return the ranking as one JSON object; the correlation matrix is left out."""
    return {
        "dataset": str(ranking.dataset),
        "window": ranking.window,
        "interval_s": ranking.interval_s,
        "windows": ranking.windows,
        "groups": ranking.groups,
        "grouped_by": ranking.grouped_by,
        "macro_f1_all": round(ranking.macro_f1_all, 4),
        "macro_f1_recommended": round(ranking.macro_f1_recommended, 4),
        "recommended": list(ranking.recommended),
        "features": [dataclasses.asdict(feature) for feature in ranking.features],
    }


def ranking_text(ranking: FeatureRanking) -> str:
    """Return the ranking as a table for the terminal."""
    width = max(len(feature.name) for feature in ranking.features)
    lines = [f"  {'feature':{width}}  information  by chance  importance       why"]
    for feature in ranking.features:
        mark = "*" if feature.recommended else " "
        lines.append(
            f"{mark} {feature.name:{width}}  {feature.mutual_information:11.3f}  "
            f"{feature.by_chance:9.3f}  "
            f"{_importance(feature):15}  {feature.reason}"
        )
    counts = ", ".join(f"{label} {count}" for label, count in ranking.windows.items())
    lines += [
        "",
        f"windows          {counts}",
        f"macro F1         {ranking.macro_f1_all:.3f} with all features",
        f"macro F1         {ranking.macro_f1_recommended:.3f} with the recommended ones (*)",
        f"held out         {ranking.groups} {ranking.grouped_by}s in turn{_caution(ranking)}",
        f"for the recipe   features: [{', '.join(ranking.recommended)}]",
    ]
    return "\n".join(lines)


def write_report(ranking: FeatureRanking, out: Path) -> None:
    """Write the ranking as one HTML file that needs no other.

    Raises:
        DatasetError: The file cannot be written.
    """
    partial = out.with_name(out.name + ".partial")
    try:
        partial.write_text(_page(ranking), encoding="utf-8")
        os.replace(partial, out)  # noqa: PTH105 - says that it replaces what is there
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DatasetError(
            f"cannot write the report: {error.strerror}",
            where=out,
            remedy="give a file in a folder that exists and may be written",
        ) from error


def _caution(ranking: FeatureRanking) -> str:
    """Return what to think of figures on blocks; nothing where recordings were held out."""
    if ranking.grouped_by == "recording":
        return ""
    return "; with fewer than three recordings these are parts of them, which is less strict"


def _importance(feature: RankedFeature) -> str:
    if feature.importance is None or feature.importance_error is None:
        return "-"
    return f"{feature.importance:.3f} ± {feature.importance_error:.3f}"


def _page(ranking: FeatureRanking) -> str:
    name = html.escape(ranking.dataset.name or str(ranking.dataset))
    rows = "\n".join(_row(feature) for feature in ranking.features)
    counts = ", ".join(
        f"{html.escape(label)} {count:,}" for label, count in ranking.windows.items()
    )
    cards = "".join(
        f'<div class="card"><b>{value}</b>{html.escape(label)}</div>'
        for value, label in (
            (f"{len(ranking.recommended)} of {len(ranking.features)}", "features recommended"),
            (f"{ranking.macro_f1_recommended:.3f}", "macro F1 with these"),
            (f"{ranking.macro_f1_all:.3f}", "macro F1 with all"),
            (f"{sum(ranking.windows.values()):,}", "windows"),
            (str(ranking.groups), f"{ranking.grouped_by}s, held out in turn"),
        )
    )
    pictures = _image(_bars(ranking), "Information and importance of the features")
    if 1 < len(ranking.features) <= _MATRIX_MOST:
        pictures += _image(_matrix(ranking), "Rank correlation of the features")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Features of {name}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
<h1>Features of {name}</h1>
<p class="about">Windows of {ranking.window} steps of {ranking.interval_s:g} s: {counts}.</p>
<div class="cards">{cards}</div>
<h2>For the recipe</h2>
<pre>features: [{html.escape(", ".join(ranking.recommended))}]</pre>
<h2>What they tell</h2>
{pictures}
<h2>All features</h2>
<table><thead><tr><th>Feature</th><th class="n">Information, nats</th><th class="n">By chance</th>
<th class="n">Importance, macro F1</th><th>Why, or why not</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<h2>How it was measured</h2>
<p>Information: mutual information with the label (Kraskov et al., 2004), the best of a
feature's mean, deviation, lowest and highest value in a window. By chance: the same with the
labels moved in time; neighbouring windows are alike, which alone seems to tell something.
Importance: macro F1 that gradient boosting loses on held-out
{ranking.grouped_by}s when the feature is shuffled, ± its standard error over the folds;
features that say the same as a better one are not asked. {ranking.groups}
{ranking.grouped_by}s were held out in turn{_caution(ranking)}.</p>
</body></html>
"""


def _row(feature: RankedFeature) -> str:
    kind = "taken" if feature.recommended else "left"
    return (
        f'<tr class="{kind}"><td>{html.escape(feature.name)}'
        f"<small>{html.escape(about(feature.name))}</small></td>"
        f'<td class="n">{feature.mutual_information:.3f}</td>'
        f'<td class="n">{feature.by_chance:.3f}</td>'
        f'<td class="n">{_importance(feature)}</td><td>{html.escape(feature.reason)}</td></tr>'
    )


def _bars(ranking: FeatureRanking) -> bytes:
    """Return a PNG with bars of information and importance."""
    figure = Figure(figsize=(11, 1.2 + _ROW_IN * len(ranking.features)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_bars(left, right, ranking)
    return _png(figure)


def _matrix(ranking: FeatureRanking) -> bytes:
    """Return a PNG with the correlation matrix."""
    side_in = 2.6 + _ROW_IN * len(ranking.features)
    figure = Figure(figsize=(side_in + 0.8, side_in), layout="constrained")
    _draw_matrix(figure.subplots(), ranking)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _image(picture: bytes, alternative: str) -> str:
    content = base64.b64encode(picture).decode("ascii")
    return f'<img alt="{alternative}" src="data:image/png;base64,{content}">'


def _draw_bars(left: Axes, right: Axes, ranking: FeatureRanking) -> None:
    features = ranking.features
    places = np.arange(len(features))
    colors = [_TAKEN if feature.recommended else _LEFT for feature in features]
    left.barh(places, [f.mutual_information for f in features], color=colors)
    chance = [f.by_chance for f in features]
    left.plot(chance, places, "|", color="#dc2626", markersize=12, label="by chance")
    left.legend(loc="lower right", frameon=False)
    left.set_yticks(places, [f.name for f in features])
    left.set_ylim(len(features) - 0.4, -0.6)
    left.set_xlabel("mutual information with the label, nats")
    right.barh(
        places,
        [f.importance or 0.0 for f in features],
        xerr=[f.importance_error or 0.0 for f in features],
        color=colors,
        ecolor="#374151",
    )
    for place, feature in enumerate(features):
        if feature.importance is None:
            right.text(0, place, "  not asked", va="center", color=_LEFT, fontsize=8)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    right.axvline(0, color="#374151", linewidth=0.8)
    right.set_xlabel("macro F1 lost when shuffled (blue: recommended)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e5e7eb")
        axes.set_axisbelow(True)


def _draw_matrix(axes: Axes, ranking: FeatureRanking) -> None:
    names = [feature.name for feature in ranking.features]
    image = axes.imshow(ranking.correlation, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(ranking.correlation):
        if row != column and abs(value) >= 0.5:  # noqa: PLR2004 - less is of no interest
            color = "white" if abs(value) > 0.6 else "#1f2937"  # noqa: PLR2004 - dark cells
            text = f"{value:.2f}".replace("0.", ".", 1)
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=color)
    axes.set_title("Rank correlation of the features' means", fontsize=11)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6)
    bar.outline.set_visible(False)
