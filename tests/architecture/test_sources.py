"""Rules about the sources that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOTS = ("sdk", "agent", "tools")
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "helpers", "common", "misc"}
CATCH_ALL = {"Exception", "BaseException"}
EXCUSE = re.compile(r"# (?:noqa|type: ignore)(?=[:\[])(.*)")
REASON = re.compile(r"(: [A-Z0-9, ]+|\[[a-z, -]+\]) +[-#] \S")


def sources(repository: Path) -> list[Path]:
    return sorted(path for root in ROOTS for path in (repository / root).rglob("*.py"))


def test_no_module_or_function_outgrows_its_room(repository: Path) -> None:
    outgrown = []
    for path in sources(repository):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MAX_MODULE_LINES:
            outgrown.append(f"{path}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    outgrown.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    assert not outgrown


def test_no_module_has_a_name_that_says_nothing(repository: Path) -> None:
    assert not [path for path in sources(repository) if path.stem in VAGUE_NAMES]


def test_nothing_swallows_everything(repository: Path) -> None:
    found = []
    for path in sources(repository):
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type
            names = {n.id for n in ast.walk(caught) if isinstance(n, ast.Name)} if caught else None
            cleans_up = isinstance(node.body[-1], ast.Raise)
            excused = cleans_up or "noqa: BLE001 - " in lines[node.lineno - 1]
            if (names is None or names & CATCH_ALL) and not excused:
                found.append(f"{path}:{node.lineno}")
    assert not found


@pytest.mark.parametrize("root", [*ROOTS, "tests"])
def test_every_exception_to_a_rule_gives_its_reason(repository: Path, root: str) -> None:
    silent = []
    for path in sorted((repository / root).rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, (above, line) in enumerate(zip(["", *lines], lines, strict=False), start=1):
            excuse = EXCUSE.search(line)
            if excuse and not REASON.match(excuse[1]) and not above.lstrip().startswith("#"):
                silent.append(f"{path}:{number}: {line.strip()}")
    assert not silent, "write `# noqa: CODE - reason` or `# type: ignore[code]  # reason`"
