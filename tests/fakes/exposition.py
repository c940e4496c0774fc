"""A strict reader of Prometheus' text format 0.0.4."""

from __future__ import annotations

import re
from collections import defaultdict

Labels = tuple[tuple[str, str], ...]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_COMMENT = re.compile(rf"# (HELP|TYPE) ({_NAME}) (.+)")
_TYPES = {"counter", "gauge", "histogram"}
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parse(text: str) -> dict[str, dict[Labels, float]]:
    """Return the samples by name and labels.

    Raises:
        AssertionError: The page breaks a rule of the format.
    """
    assert text.endswith("\n")
    page = _Page()
    for line in text[:-1].split("\n"):
        if comment := _COMMENT.fullmatch(line):
            page.comment(*comment.groups())
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, f"no sample: {line!r}"
            page.sample(sample[1], sample[2] or "", float(sample[sample.re.groups]))
    for name, kind in page.types.items():
        if kind == "histogram":
            _check_histogram(name, page.samples)
    return dict(page.samples)


class _Page:
    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.samples: dict[str, dict[Labels, float]] = defaultdict(dict)
        self._family = ""
        self._described: set[str] = set()

    def comment(self, kind: str, name: str, rest: str) -> None:
        if kind == "HELP":
            assert name not in self._described, f"{name} is described twice"
            self._described.add(name)
            self._family = name
        else:
            assert rest in _TYPES, rest
            assert name == self._family, "TYPE follows HELP"
            self.types[name] = rest

    def sample(self, name: str, labels: str, value: float) -> None:
        kind = self.types.get(self._family)
        assert kind, f"{name} comes before its type"
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        assert name in {self._family + ending for ending in endings}, f"{name}: {self._family}"
        key = tuple((k, _unescaped(v)) for k, v in re.findall(_LABEL, labels))
        assert len({k for k, _ in key}) == len(key), f"a label twice: {labels}"
        assert key not in self.samples[name], f"the same sample twice: {name} {labels}"
        assert kind == "gauge" or value >= 0
        self.samples[name][key] = value


def _check_histogram(name: str, samples: dict[str, dict[Labels, float]]) -> None:
    rows: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, value in samples[f"{name}_bucket"].items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        rows[rest].append((float(dict(labels)["le"]), value))
    for labels, row in rows.items():
        assert row == sorted(row), "buckets grow"
        assert row[-1][0] == float("inf")
        assert row[-1][1] == samples[f"{name}_count"][labels]
        assert labels in samples[f"{name}_sum"]


def _unescaped(text: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES[match[0]], text)
