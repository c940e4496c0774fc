"""How much of the agent's processor time is decoding and the model, and how much is all the rest.

Efficiency is what an agent that did nothing but decode each frame and run the model on it would
need, as a part of what the whole agent needs: pre-processing, decoding of boxes, tracking,
counting, the durable spool and MQTT to a real mosquitto are the rest. Both run in processes of
their own, as often in turns as ``--rounds`` says, with as many streams, so that both share the
processors alike; what starting costs is taken off by runs of two lengths.

The clip (1280x720, digits on their way through) and the detector (YOLO-like, 320x320, taught for a
minute) are made here. Run::

    python tests/bench/agent_efficiency.py --work FOLDER [--streams 1,4,8] [--rounds 3]
"""

import argparse
import json
import os
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgehaul_tools.bench.zoo.samples import scenes
from edgehaul_tools.bench.zoo.zoo import ZOO, export_fp32
from edgehaul_tools.pack.pack import Label, pack_directory
from edgehaul_tools.quantize.quantize import Options, quantize_model

CLIP_PX, FPS, FRAMES = (1280, 720), 25, (60, 360)
OBJECTS = 8
MODEL = "yolo_relu"
VARIANTS = {"fp32": "fp32", "int8": "int8-u8s8"}
LINE = [[640, 720], [640, 0]]
AGENT = (sys.executable, "-m", "edgehaul_agent")
_READY_S = 10.0


@dataclass(frozen=True)
class Material:
    """What both sides work on.

    Attributes:
        clips: Short and long clip.
        models: ONNX files by variant.
        bundle: The same for the agent.
    """

    clips: tuple[Path, Path]
    models: dict[str, Path]
    bundle: Path


def say(line: str) -> None:
    """Write a line at once: the whole takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# ---- material -------------------------------------------------------------------------------


def prepare(work: Path) -> Material:
    """Make clips, models and bundle, or take what an earlier run made."""
    work.mkdir(parents=True, exist_ok=True)
    clips = tuple(work / f"clip-{count}.mp4" for count in FRAMES)
    for clip, count in zip(clips, FRAMES, strict=True):
        if not clip.exists():
            draw_clip(clip, count)
    fp32 = export_fp32(ZOO[MODEL], work)
    folder, bundle = work / "model", work / "model.edgehaul"
    if not bundle.exists():
        pictures = work / "pictures"
        draw_pictures(pictures)
        spec = work / "spec.json"
        spec.write_bytes(msgspec.json.encode(ZOO[MODEL].spec))
        quantize_model(fp32, folder, pictures, Options(name="digits", spec_file=spec))
        pack_directory(folder, bundle, Label("digits", "1.0.0"), unverified=True)
    return Material(
        (clips[0], clips[1]),
        {name: folder / f"{name}.onnx" for name in ("fp32", "int8")},
        bundle,
    )


def picture_of(tensor: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (BGR) that the canvas of the zoo's detector turns into this tensor."""
    scaled = np.clip(tensor * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(1, 2, 0)[:, :, ::-1])


def draw_pictures(folder: Path) -> None:
    """Write pictures to calibrate on."""
    folder.mkdir(exist_ok=True)
    found = scenes(100, 320, "learn", np.random.default_rng(1))
    for number, tensor in enumerate(found.tensors):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture_of(tensor))


def draw_clip(path: Path, count: int) -> None:
    """Write a clip of digits that pass from left to right."""
    rng = np.random.default_rng(2)
    width, height = CLIP_PX
    ground = cv2.resize(rng.normal(0, 0.4, (9, 16)).astype(np.float32), CLIP_PX)
    back = picture_of(np.stack([ground] * 3))
    parts = list(_digit_pictures(rng))[:OBJECTS]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, CLIP_PX)
    for frame in range(count):
        picture = back.copy()
        for number, part in enumerate(parts):
            side = part.shape[0]
            y = (number * (height - 200)) // OBJECTS + 20
            x = (frame * (6 + 2 * number) + number * 311) % (width + side) - side
            left, right = max(x, 0), min(x + side, width)
            if right > left:
                picture[y : y + side, left:right] = part[:, left - x : right - x]
        writer.write(picture)
    writer.release()


def _digit_pictures(rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield digits of 80 to 180 pixels, cut out of scenes."""
    found = scenes(4 * OBJECTS, 320, "judge", rng)
    for tensor, objects in zip(found.tensors, found.objects, strict=True):
        for x1, y1, x2, y2 in objects.boxes.astype(int).tolist():
            if x2 - x1 >= 24:
                side = int(rng.integers(80, 180))
                part = cv2.resize(picture_of(tensor)[y1:y2, x1:x2], (side, side))
                yield part.astype(np.uint8)
                break


# ---- the ideal: decode and run, nothing else -------------------------------------------------


def run_ideal(clip: Path, model: Path, streams: int) -> None:
    """Decode each frame and run the model for it, with the agent's own numbers of threads."""
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    frames: queue.Queue[int] = queue.Queue(maxsize=streams)
    count = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count) as workers, ThreadPoolExecutor(streams) as readers:
        running = [workers.submit(_run_each, session, frames) for _ in range(count)]
        list(readers.map(lambda _: _decode_all(clip, frames), range(streams)))
        for _ in running:
            frames.put(0)


def _decode_all(clip: Path, frames: queue.Queue[int]) -> None:
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    while capture.read()[0]:
        frames.put(1)


def _run_each(session: onnxruntime.InferenceSession, frames: queue.Queue[int]) -> None:
    given = session.get_inputs()[0]
    tensor = np.random.default_rng(0).random([1, *given.shape[1:]], np.float32)
    while frames.get():
        session.run(None, {given.name: tensor})


# ---- the agent --------------------------------------------------------------------------------


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Run a broker on loopback; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    process = subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + _READY_S
        while time.monotonic() < deadline_s:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def install(material: Material, folder: Path) -> None:
    """Install the bundle below ``folder``."""
    words = ["install", str(material.bundle), "--root", str(folder / "root")]
    subprocess.run([*AGENT, *words], check=True, stdout=subprocess.DEVNULL)


def device_yaml(
    path: Path,
    stream: dict[str, object],
    streams: int,
    port: int,
    spool: dict[str, object] | None = None,
) -> Path:
    """Write a configuration with so many streams that differ by their names alone."""
    config = {
        "root": "root",
        "device": {"id": "bench", "site": "bench"},
        "mqtt": {"port": port, "acknowledge": "puback"},
        "spool": spool or {},
        "streams": [{**stream, "name": f"camera{number}"} for number in range(streams)],
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


# ---- measuring --------------------------------------------------------------------------------


def cpu_s(command: Sequence[str]) -> float:
    """Run a command and return its processor time in seconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def per_frame_ms(commands: Sequence[Sequence[str]], streams: int) -> float:
    """Return the processor time of a frame: long clip minus short clip."""
    short_s, long_s = (cpu_s(command) for command in commands)
    return (long_s - short_s) / (streams * (FRAMES[1] - FRAMES[0])) * 1000


def compare(material: Material, variant: str, streams: int, rounds: int) -> str:
    """Return a line on one variant and number of streams."""
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name)) as port:
        folder = Path(name)
        install(material, folder)
        agents, ideals = [], []
        for clip in material.clips:
            stream = {
                "source": {"type": "file", "path": str(clip)},
                "model": "digits",
                "variant": VARIANTS[variant],
                "lines": [{"name": "middle", "points": LINE}],
            }
            config = device_yaml(folder / f"{clip.stem}.yaml", stream, streams, port)
            agents.append([*AGENT, "run", "--config", str(config)])
            ideal = [str(clip), str(material.models[variant]), str(streams)]
            ideals.append([sys.executable, __file__, "--ideal", *ideal])
        ratios, agent_ms, ideal_ms = [], [], []
        for _ in range(rounds):
            ideal_ms.append(per_frame_ms(ideals, streams))
            agent_ms.append(per_frame_ms(agents, streams))
            ratios.append(ideal_ms[-1] / agent_ms[-1])
    ideal, agent = statistics.median(ideal_ms), statistics.median(agent_ms)
    return (
        f"{variant:<6}{streams:>8}{ideal:>12.2f}{agent:>12.2f}{agent - ideal:>10.2f}"
        f"{statistics.median(ratios):>12.3f}  ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def main() -> None:
    """Print the table, or be the ideal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, help="keeps clips and models")
    parser.add_argument("--streams", default="1,4,8")
    parser.add_argument("--variants", default="fp32,int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ideal", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ideal:
        run_ideal(Path(given.ideal[0]), Path(given.ideal[1]), int(given.ideal[2]))
        return
    if given.work is None:
        parser.error("--work is needed")
    material = prepare(given.work.absolute())
    heads = ("model", "streams", "ideal ms", "agent ms", "rest ms", "efficiency")
    say("{:<6}{:>8}{:>12}{:>12}{:>10}{:>12}".format(*heads))
    for variant in given.variants.split(","):
        for streams in map(int, given.streams.split(",")):
            say(compare(material, variant, streams, given.rounds))


if __name__ == "__main__":
    main()
