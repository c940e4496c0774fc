"""The findings of a check as one page with the pictures, readable without a network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgehaul.vision.reading import read_picture
from edgehaul_tools.dataset.findings import CheckReport, Finding

_SIDE_PX = 160
_AROUND = 0.5
"""How much of its surroundings is shown with an object, as a share of its sides."""
_SHOWN = 60
"""Findings of one kind on the page; the JSON report holds all."""
_QUALITY = 80
_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
section { border-top: 1px solid #ccc; }
figure { display: inline-block; width: 21rem; margin: 0 1rem 1rem 0; vertical-align: top; }
figcaption { font-size: 13px; color: #555; overflow-wrap: anywhere; }
.error { color: #b91c1c; } .warning { color: #92400e; } .note { color: #555; }
"""


def findings_page(report: CheckReport) -> str:
    """Return the page; findings of one kind stand together, the worst first."""
    counts = ", ".join(f"{count} {severity}s" for severity, count in report.counts.items())
    title = f"Check of {html.escape(report.path)}"
    lead = (
        f"{html.escape(report.form)}: {report.items} items, {report.objects} marks. Found {counts}."
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    body = "\n".join(_sections(report))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n<p>{lead}</p>\n{notes}\n{body}\n</body>\n</html>\n"
    )


def _sections(report: CheckReport) -> Iterator[str]:
    kinds = dict.fromkeys((finding.severity, finding.kind) for finding in report.findings)
    for severity, kind in kinds:
        own = [f for f in report.findings if (f.severity, f.kind) == (severity, kind)]
        figures = "\n".join(_figure(finding) for finding in own[:_SHOWN])
        rest = f"<p>and {len(own) - _SHOWN} more</p>" if len(own) > _SHOWN else ""
        heading = f'<h2 class="{severity}">{html.escape(kind)}: {len(own)} ({severity})</h2>'
        yield f"<section>\n{heading}\n{figures}\n{rest}</section>"


def _figure(finding: Finding) -> str:
    pictures = "".join(
        _picture(file, finding.box if place == 0 else None)
        for place, file in enumerate(finding.files)
    )
    where = f"<b>{html.escape(finding.where)}</b><br>" if finding.where else ""
    text = f"{html.escape(finding.what)}; {html.escape(finding.remedy)}"
    return f"<figure>{pictures}<figcaption>{where}{text}</figcaption></figure>"


def _picture(file: str, box: tuple[float, float, float, float] | None) -> str:
    """Return a small picture, or an object with its surroundings and its box."""
    image = read_picture(Path(file))
    if image is None:
        return ""
    if box is not None:
        x1, y1, x2, y2 = box
        cv2.rectangle(image, (round(x1), round(y1)), (round(x2), round(y2)), (0, 0, 255), 1)
        across, down = _AROUND * (x2 - x1) + 2, _AROUND * (y2 - y1) + 2
        left, top = max(int(x1 - across), 0), max(int(y1 - down), 0)
        image = image[top : int(y2 + down) + 1, left : int(x2 + across) + 1]
    scale = _SIDE_PX / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    data = base64.b64encode(np.asarray(encoded).tobytes()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="">'
