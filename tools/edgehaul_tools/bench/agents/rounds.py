"""All contenders on one clip, in turns."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from edgehaul_tools.bench.agents.contenders import OURS, Contender
from edgehaul_tools.bench.agents.material import FRAMES, VARIANTS, Material
from edgehaul_tools.bench.agents.programs import (
    Engine,
    Took,
    install_agent,
    run_agent,
    run_peer,
)
from edgehaul_tools.bench.peers.environment import PeerFaultError, prepared

Progress = Callable[[str], None]
_MORE_FRAMES = FRAMES[1] - FRAMES[0]
_LOOP = "plain_loop"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One row; all but the spread are medians over the rounds.

    Attributes:
        name: Of the contender.
        cpu_ms_per_frame: Processor time of the whole program for a frame, without its start.
        bare_ms_per_frame: That of decoding and its own engine alone, on one thread.
        efficiency: What decoding and the engine alone need / what the whole needs.
        efficiency_least: The worst round.
        efficiency_most: The best.
        fps: Frames a second, without the start.
        rss_peak_mib: Most resident memory.
        first_result_s: From the start of the program to its first result.
        forward: Crossings counted in the direction of most.
        backward: Crossings counted against it.
        crossings: Those that there truly are, all forward.
        note: What there is to say, or why it is not there.
    """

    name: str
    cpu_ms_per_frame: float | None = None
    bare_ms_per_frame: float | None = None
    efficiency: float | None = None
    efficiency_least: float | None = None
    efficiency_most: float | None = None
    fps: float | None = None
    rss_peak_mib: float | None = None
    first_result_s: float | None = None
    forward: int | None = None
    backward: int | None = None
    crossings: int = 0
    note: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it counted what there is."""
        return self.forward == self.crossings and self.backward == 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All rows.

    Attributes:
        rows: Ours first.
        rounds: Runs of each.
        versions: Of the peers' packages.
        broker: What all published to.
    """

    rows: tuple[Standing, ...]
    rounds: int
    versions: dict[str, str]
    broker: str


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same program on the short clip and on the long one: what starting costs is taken off."""

    short: Took
    long: Took

    @property
    def cpu_ms_per_frame(self) -> float:
        """Processor time of a frame."""
        return 1000 * (self.long.cpu_s - self.short.cpu_s) / _MORE_FRAMES

    @property
    def fps(self) -> float:
        """Frames a second of the long run, from its first result to its end."""
        return FRAMES[1] / (self.long.wall_s - self.long.first_result_s)


@dataclasses.dataclass
class Entry:
    """A contender on its way through the rounds.

    Attributes:
        title: In the table.
        whole: Runs it on a clip.
        bare: Runs decoding and its engine alone.
        fault: Why it does not run, once it has failed.
        pairs: What it took whole, and bare, in each round.
    """

    title: str
    whole: Callable[[Path], Took] | None = None
    bare: Callable[[Path], Took] | None = None
    fault: str = ""
    pairs: list[tuple[Pair, Pair]] = dataclasses.field(default_factory=list)

    def turn(self, clips: tuple[Path, Path]) -> None:
        """Run once; what fails once is not run again."""
        if self.fault or self.whole is None or self.bare is None:
            return
        try:
            bare = Pair(*(self.bare(clip) for clip in clips))
            whole = Pair(*(self.whole(clip) for clip in clips))
        except PeerFaultError as fault:
            self.fault = str(fault)
        else:
            self.pairs.append((bare, whole))

    def standing(self, crossings: int) -> Standing:
        """Return its row."""
        if self.fault or not self.pairs:
            return Standing(name=self.title, crossings=crossings, note=self.fault)
        wholes = [whole for _, whole in self.pairs]
        efficiencies = [b.cpu_ms_per_frame / w.cpu_ms_per_frame for b, w in self.pairs]
        last = wholes[-1].long
        return Standing(
            name=self.title,
            cpu_ms_per_frame=statistics.median(one.cpu_ms_per_frame for one in wholes),
            bare_ms_per_frame=statistics.median(b.cpu_ms_per_frame for b, _ in self.pairs),
            efficiency=statistics.median(efficiencies),
            efficiency_least=min(efficiencies),
            efficiency_most=max(efficiencies),
            fps=statistics.median(one.fps for one in wholes),
            rss_peak_mib=statistics.median(one.long.rss_peak_mib for one in wholes),
            first_result_s=statistics.median(
                took.first_result_s for one in wholes for took in (one.short, one.long)
            ),
            forward=last.forward,
            backward=last.backward,
            crossings=crossings,
            note=last.note,
        )


def compare(
    material: Material,
    contenders: Sequence[Contender],
    *,
    envs: Path,
    rounds: int,
    port: int,
    broker: str,
    progress: Progress = lambda _line: None,
) -> Comparison:
    """Run everybody in turns.

    Args:
        material: What they work on.
        contenders: Who takes part beside us.
        envs: Folder of their environments.
        rounds: Runs of each.
        port: Port of the broker on this machine.
        broker: What it is called.
        progress: Told what is done.

    Raises:
        PeerFaultError: Our own agent cannot be installed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_agent(material.bundle, folder / "root")
        own = Path(sys.executable)
        entries = [
            _ours(title, form, material, own, folder, port)
            for title, form in zip(OURS, VARIANTS, strict=True)
        ]
        for contender in contenders:
            progress(f"{contender.title}: its environment")
            entries.append(_entry(contender, material, envs, folder, port))
        for number in range(rounds):
            for entry in entries:
                progress(f"round {number + 1} of {rounds}: {entry.title}")
                entry.turn(material.clips)
    versions: dict[str, str] = {}
    for entry in entries:
        for _, whole in entry.pairs[:1]:
            versions |= whole.long.versions
    rows = tuple(entry.standing(material.crossings) for entry in entries)
    return Comparison(rows=rows, rounds=rounds, versions=versions, broker=broker)


def _ours(
    title: str, form: str, material: Material, python: Path, folder: Path, port: int
) -> Entry:
    # Beside our own form of the model, in our own environment, decoding and the model alone.
    engine = Engine(python, _LOOP, material.models[form], 1)
    root = folder / "root"
    return Entry(
        title,
        whole=lambda clip: run_agent(root, clip, form, folder, port=port),
        bare=partial(run_peer, engine, folder=folder, part="bare"),
    )


def _entry(contender: Contender, material: Material, envs: Path, folder: Path, port: int) -> Entry:
    if contender.left_out:
        return Entry(contender.title, fault=contender.left_out)
    try:
        python = prepared(contender.home, envs)
    except PeerFaultError as fault:
        return Entry(contender.title, fault=str(fault))
    engine = Engine(python, contender.script, material.peer_model, contender.threads)
    # Threads that wait for each other cost time: the least that the work needs is that of one.
    alone = dataclasses.replace(engine, threads=1)
    return Entry(
        contender.title,
        whole=partial(run_peer, engine, folder=folder, part="whole", port=port),
        bare=partial(run_peer, alone, folder=folder, part="bare"),
    )
