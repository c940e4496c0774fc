"""Parts of a report's page: one HTML file with everything inside, readable without a network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CSS = """
:root { color-scheme: light dark; --ink: #1f2937; --muted: #6b7280; --line: #e5e7eb;
  --grid: #eef0f3; --paper: #fff; --ground: #f6f7f9; --good: #047857; --bad: #b91c1c;
  --warn: #92400e; --warn-paper: #fffbeb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --muted: #9ca3af; --line: #374151;
  --grid: #273040; --paper: #1b2230; --ground: #10151f; --good: #34d399; --bad: #f87171;
  --warn: #fcd34d; --warn-paper: #2b2410; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0;
  background: var(--ground); }
main { max-width: 1060px; margin: 0 auto; padding: 28px 16px 64px; }
h1 { margin: 0; font-size: 26px; }
h2 { margin: 0 0 4px; font-size: 19px; }
h3 { margin: 18px 0 2px; font-size: 15px; }
p { margin: 4px 0 12px; color: var(--muted); max-width: 78ch; overflow-wrap: anywhere; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin-top: 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin-top: 18px; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 14px; }
.tile b { display: block; font-size: 22px; line-height: 1.25; }
.tile span { color: var(--muted); font-size: 13px; display: block; overflow-wrap: anywhere; }
.good b { color: var(--good); } .bad b { color: var(--bad); }
.warn { background: var(--warn-paper); color: var(--warn); border: 1px solid var(--line);
  border-radius: 10px; padding: 10px 16px; margin: 14px 0 0; }
.warn li { margin: 2px 0; } .warn ul { margin: 0; padding-left: 18px; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(360px, 100%), 1fr));
  gap: 16px; align-items: start; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(215px, 100%), 1fr));
  gap: 12px; }
.row > figure { max-width: 560px; }
figure { margin: 8px 0 0; min-width: 0; }
figure img, figure svg { width: 100%; height: auto; display: block; border-radius: 6px; }
figcaption { color: var(--muted); font-size: 13px; margin-top: 4px; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 12px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 600; color: var(--muted); font-size: 13px; }
td small { color: var(--muted); }
td.words { text-align: left; white-space: normal; min-width: 220px; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page."""
    content = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body><main>\n{content}\n</main></body>\n</html>\n"
    )


def section(title: str, text: str, *parts: str) -> str:
    """Return a section; its text is escaped, its parts are HTML."""
    body = "\n".join(part for part in parts if part)
    lead = f"<p>{html.escape(text)}</p>" if text else ""
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{lead}\n{body}\n</section>"


def tile(figure: str, text: str, note: str = "", *, good: bool | None = None) -> str:
    """Return one large figure and what it is, coloured where it is good or bad."""
    kind = "" if good is None else " good" if good else " bad"
    below = f"<span>{html.escape(note)}</span>" if note else ""
    inner = f"<b>{html.escape(figure)}</b><span>{html.escape(text)}</span>{below}"
    return f'<div class="tile{kind}">{inner}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell ``value (note)`` shows its note small, one with a full text wraps."""
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    if len(cell) > 36:  # noqa: PLR2004 - more is a sentence
        return f'<td class="words">{html.escape(cell)}</td>'
    value, bracket, note = cell.partition(" (")
    if not bracket:
        return f"<td>{html.escape(cell)}</td>"
    return f"<td>{html.escape(value)} <small>({html.escape(note)}</small></td>"


def figures(charts: Iterable[tuple[str, str]]) -> str:
    """Return charts (SVG and what each shows) beside each other."""
    cells = "".join(figure(svg, text) for svg, text in charts)
    return f'<div class="row">{cells}</div>' if cells else ""


def figure(media: str, text: str) -> str:
    """Return one figure: HTML and what it shows."""
    return f"<figure>{media}<figcaption>{html.escape(text)}</figcaption></figure>"


def warnings(lines: Sequence[str]) -> str:
    """Return what the reader should know before reading on."""
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<div class="warn"><ul>{items}</ul></div>'
