"""Ours and the peers' int8 forms of one model, on the same data, timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul.errors import EdgeHaulError
from edgehaul_tools.bench.judging import Verdict, answers_of, judge
from edgehaul_tools.bench.ours import KEPT, Ours, compressed
from edgehaul_tools.bench.peers.environment import (
    PeerFaultError,
    made_by,
    measured_by,
    prepared,
)
from edgehaul_tools.bench.peers.table import Peer
from edgehaul_tools.bench.zoo.samples import Samples
from edgehaul_tools.bench.zoo.zoo import ZooModel, export_fp32
from edgehaul_tools.compress.candidate import ALIKE
from edgehaul_tools.export.runtime import Run, interleaved_medians_ms, processors, runner
from edgehaul_tools.quantize.fusion import fusion_of

ROUNDS, IMAGES, JUDGED = 15, 200, 400
OURS, FP32 = "EdgeHaul", "fp32.onnx"
_HOLDS_AGREEMENT, _HOLDS_DROP = 0.97, 0.005
_SEEDS = {"calibrate": 1, "judge": 2}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One tool's form of one model.

    Attributes:
        model: Name of the model.
        tool: What made the form.
        ratio: Its time / that of fp32 in ONNX Runtime; none where it does not run.
        size_ratio: Its bytes / those of fp32.
        value: Accuracy, or F1 of a detector.
        drop: What is lost of it; 0.01 is one point.
        agreement: With fp32: equal classes, or F1 between both.
        quantize_s: Time to calibrate and write it, without the start of the process.
        search_s: Time of the whole search, where there is one.
        kernels: Integer kernels that ONNX Runtime runs it with.
        engine: What runs it, where that is not ONNX Runtime in this process.
        note: How it was made, or why it is not there.
    """

    model: str
    tool: str
    ratio: float | None = None
    size_ratio: float | None = None
    value: float | None = None
    drop: float | None = None
    agreement: float | None = None
    quantize_s: float | None = None
    search_s: float | None = None
    kernels: int | None = None
    engine: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether its answers are near enough to those of fp32 for its time to count."""
        if self.ratio is None or self.agreement is None or self.drop is None:
            return False
        return self.agreement >= _HOLDS_AGREEMENT and self.drop <= _HOLDS_DROP


class Contest(msgspec.Struct, frozen=True):
    """All forms of one model.

    Attributes:
        model: Its name.
        title: For people.
        data: What it was judged on.
        fp32_ms: Time of fp32, one thread.
        fp32_bytes: Its size.
        fp32_value: Accuracy or F1 of fp32.
        rows: Ours first.
        versions: Of the peers' packages.
    """

    model: str
    title: str
    data: str
    fp32_ms: float
    fp32_bytes: int
    fp32_value: float
    rows: tuple[Row, ...]
    versions: dict[str, str] = {}

    @property
    def best(self) -> tuple[Row, ...]:
        """The fastest in ONNX Runtime whose answers hold, and those that are as fast."""
        fit = {row: row.ratio for row in self.rows if row.holds and row.ratio and not row.engine}
        least = min(fit.values(), default=0.0)
        return tuple(row for row, ratio in fit.items() if ratio <= least * (1 + ALIKE))


@dataclass(frozen=True)
class Rules:
    """How a contest is run.

    Attributes:
        peers: Who takes part beside us.
        envs: Folder of their environments.
        work: Folder of weights and forms.
        rounds: Turns of each form.
        images: Inputs to calibrate on.
        judged: Inputs to judge on.
        steps: Batches to learn from; none is what each model needs.
    """

    peers: tuple[Peer, ...]
    envs: Path
    work: Path
    rounds: int = ROUNDS
    images: int = IMAGES
    judged: int = JUDGED
    steps: int | None = None


@dataclass
class _Form:
    """A form on its way into the table."""

    tool: str
    file: Path | None = None
    quantize_s: float | None = None
    note: str = ""
    search_s: float | None = None


def hold_contest(
    model: ZooModel, rules: Rules, progress: Callable[[str], None] = lambda _line: None
) -> Contest:
    """Make all forms of a model and measure them.

    Args:
        model: Of the zoo.
        rules: Who takes part, and how.
        progress: Told what is done.
    """
    return _Contest(model, rules, progress).run()


class _Contest:
    def __init__(self, model: ZooModel, rules: Rules, progress: Callable[[str], None]) -> None:
        self._model, self._rules, self._progress = model, rules, progress
        self._folder = rules.work / model.name
        self._folder.mkdir(parents=True, exist_ok=True)
        progress(f"{model.name}: teaching and exporting fp32")
        source = export_fp32(model, rules.work, rules.steps)
        self._fp32 = self._folder / FP32
        self._fp32.write_bytes(source.read_bytes())
        calibration = model.samples(rules.images, _SEEDS["calibrate"])
        self._calibration: NDArray[np.float32] = calibration.tensors
        self._judged: Samples = model.samples(rules.judged, _SEEDS["judge"])
        np.save(self._folder / "calibration.npy", calibration.tensors)
        np.save(self._folder / "judge.npy", self._judged.tensors)
        self._reference = answers_of(self._fast(self._fp32), self._judged)
        self._versions: dict[str, str] = {}

    def run(self) -> Contest:
        forms = [self._ours(), *self._peers()]
        rows, fp32_ms = self._timed(forms)
        rows += self._engines()
        return Contest(
            model=self._model.name,
            title=self._model.title,
            data=self._model.data,
            fp32_ms=fp32_ms,
            fp32_bytes=self._fp32.stat().st_size,
            fp32_value=self._verdict(self._reference).value,
            rows=tuple(rows),
            versions=self._versions,
        )

    def _ours(self) -> _Form:
        self._progress(f"{self._model.name}: {OURS}")
        made: Ours = compressed(self._fp32, self._model.spec, self._calibration, self._progress)
        file = self._folder / "ours.onnx"
        onnx.save(made.model, str(file))
        for_engines = self._folder / "ours-qdq.onnx"
        for_engines.unlink(missing_ok=True)  # of an earlier run
        if made.as_qdq is not None:
            onnx.save(made.as_qdq, str(for_engines))
        if made.plan == KEPT:
            file = self._fp32
        return _Form(OURS, file, made.quantize_s, made.plan, made.search_s)

    def _peers(self) -> Iterable[_Form]:
        for peer in self._rules.peers:
            self._progress(f"{self._model.name}: {peer.title}")
            try:
                python = prepared(peer, self._rules.envs)
                made = made_by(peer, python, self._folder)
            except PeerFaultError as fault:
                yield _Form(peer.title, note=str(fault))
                continue
            self._versions |= made["versions"]
            yield from self._made(made["forms"])

    def _made(self, forms: Mapping[str, Mapping[str, Any]]) -> Iterable[_Form]:
        for name, form in forms.items():
            if "fault" in form:
                yield _Form(name, note=f"fails: {form['fault']}")
            elif form["file"]:
                yield _Form(name, self._folder / form["file"], form["seconds"])
            else:  # its own engine runs it
                (self._folder / "seconds.txt").write_text(f"{form['seconds']}", encoding="utf-8")

    def _timed(self, forms: Iterable[_Form]) -> tuple[list[Row], float]:
        """Return the rows of what ONNX Runtime runs, and the time of fp32."""
        forms, runs = list(forms), {}
        for form in forms:
            try:
                if form.file is not None:
                    runs[form.tool] = runner(form.file)
                    runs[form.tool](self._judged.tensors[:1])
            except EdgeHaulError as error:
                runs.pop(form.tool)
                form.note = f"fails: {error.message}"
        self._progress(f"{self._model.name}: timing {len(runs)} forms in turns")
        every = [runner(self._fp32), *runs.values()]
        times = interleaved_medians_ms(every, self._judged.tensors[:1], self._rules.rounds)
        of = dict(zip(runs, times[1:], strict=True))
        return [self._row(f, of.get(f.tool), times[0]) for f in forms], times[0]

    def _row(self, form: _Form, own_ms: float | None, fp32_ms: float) -> Row:
        if own_ms is None or form.file is None:
            return Row(model=self._model.name, tool=form.tool, note=form.note)
        self._progress(f"{self._model.name}: judging {form.tool}")
        verdict = self._verdict(answers_of(self._fast(form.file), self._judged))
        made = onnx.load(str(form.file))  # with what a peer has put into files beside it
        return Row(
            model=self._model.name,
            tool=form.tool,
            # What is kept in fp32 is the same file: its ratio is 1 and not the clock's mood.
            ratio=1.0 if form.file == self._fp32 else own_ms / fp32_ms,
            size_ratio=made.ByteSize() / self._fp32.stat().st_size,
            quantize_s=form.quantize_s,
            kernels=fusion_of(made, ()).integer,
            note=form.note,
            search_s=form.search_s,
            value=verdict.value,
            drop=self._drop_of(verdict),
            agreement=verdict.agreement,
        )

    def _engines(self) -> Iterable[Row]:
        """Yield the rows of what the peers' own engines run."""
        for peer in self._rules.peers:
            if not peer.has_engine:
                continue
            self._progress(f"{self._model.name}: {peer.title}'s own engine")
            try:
                python = prepared(peer, self._rules.envs)
                found = measured_by(peer, python, self._folder, self._rules.rounds)
            except PeerFaultError as fault:
                yield Row(model=self._model.name, tool=f"{peer.title}'s engine", note=str(fault))
                continue
            yield from (self._engine_row(peer, name, one) for name, one in found.items())

    def _engine_row(self, peer: Peer, name: str, found: Mapping[str, Any]) -> Row:
        if "fault" in found:
            note = f"fails: {found['fault']}"
            return Row(model=self._model.name, tool=name, engine=peer.title, note=note)
        verdict = self._verdict(list(np.load(self._folder / found["answers"])))
        return Row(
            model=self._model.name,
            tool=name,
            ratio=found["ratio"],
            size_ratio=found["bytes"] / self._fp32.stat().st_size,
            engine=peer.title,
            value=verdict.value,
            drop=self._drop_of(verdict),
            agreement=verdict.agreement,
        )

    def _drop_of(self, verdict: Verdict) -> float:
        return self._verdict(self._reference).value - verdict.value

    def _verdict(self, answers: list[NDArray[Any]]) -> Verdict:
        return judge(self._model.spec, self._judged, self._reference, answers)

    def _fast(self, file: Path) -> Run:
        return runner(file, threads=processors())
