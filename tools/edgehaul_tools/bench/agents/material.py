"""What all work on: a clip with a known number of crossings, and a detector in several forms.

The clip (1280x720) shows digits on their way from left to right; the detector (YOLO-like, 320x320)
is taught for a minute. What an earlier run made is taken from the folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul_tools.bench.zoo.samples import scenes
from edgehaul_tools.bench.zoo.zoo import ZOO, export_fp32
from edgehaul_tools.pack.pack import Label, pack_directory
from edgehaul_tools.quantize.quantize import Options, quantize_model

CLIP_PX, FPS, FRAMES = (1280, 720), 25, (60, 360)
"""Frames of the short clip and the long one."""
LINE = ((640.0, 720.0), (640.0, 0.0))
"""Whoever goes to the right crosses it forward."""
MODEL, NAME, SIDE_PX = "yolo_relu", "digits", 320
VARIANTS = {"fp32": "fp32", "int8": "int8-u8s8"}
"""Forms of the model, and what they are called in the bundle."""
_OBJECTS = 8
_STRIDE = 32
_DARKEST, _SPAN = -1.0, 3.0
"""The zoo's pictures are around 0; those of a clip are of 0 to 1: ``clip * _SPAN + _DARKEST``."""


@dataclass(frozen=True)
class Material:
    """What is worked on.

    Attributes:
        clips: Short and long clip.
        models: ONNX files by form.
        peer_model: The fp32 form as other tools expect it: a batch of one, with metadata.
        bundle: All forms for the agent.
        crossings: Objects that truly cross the line, in the long clip.
    """

    clips: tuple[Path, Path]
    models: dict[str, Path]
    peer_model: Path
    bundle: Path
    crossings: int


@dataclass(frozen=True)
class Passing:
    """A digit that passes again and again.

    Attributes:
        picture: (side, side, 3) BGR.
        top_px: Its upper edge.
        speed_px: Pixels a frame.
        start_px: Where it is at frame 0, before the width is taken off.
    """

    picture: NDArray[np.uint8]
    top_px: int
    speed_px: int
    start_px: int

    def left_px(self, frame: int) -> int:
        """Return its left edge; it begins anew where it has left the picture."""
        side = int(self.picture.shape[0])
        return (frame * self.speed_px + self.start_px) % (CLIP_PX[0] + side) - side


def prepare(work: Path, steps: int | None = None) -> Material:
    """Make clips, models and bundle, or take what an earlier run made.

    Args:
        work: Keeps them.
        steps: Batches that the detector learns from; none is what it needs.
    """
    made = work / "agents"
    made.mkdir(parents=True, exist_ok=True)
    back, parts = _scenery()
    clips = (made / f"clip-{FRAMES[0]}.mp4", made / f"clip-{FRAMES[1]}.mp4")
    for clip, count in zip(clips, FRAMES, strict=True):
        if not clip.exists():
            _draw_clip(clip, count, back, parts)
    folder, bundle = made / "model", made / "model.edgehaul"
    if not bundle.exists():
        fp32 = made / "fp32.onnx"
        taught = onnx.load(str(export_fp32(ZOO[MODEL], work, steps)))
        onnx.save(for_pictures(taught), str(fp32))
        _make_bundle(fp32, folder, bundle, made)
    models = {name: folder / f"{name}.onnx" for name in VARIANTS}
    peer_model = made / "peer.onnx"
    if not peer_model.exists():
        onnx.save(for_peers(onnx.load(str(models["fp32"]))), str(peer_model))
    return Material(clips, models, peer_model, bundle, crossings(parts, FRAMES[1]))


def crossings(parts: list[Passing], frames: int) -> int:
    """Return how often the middle of an object passes the line within so many frames."""
    count = 0
    for part in parts:
        middles = [part.left_px(at) + part.picture.shape[0] / 2 for at in range(frames)]
        pairs = itertools.pairwise(middles)
        count += sum(before < LINE[0][0] <= after for before, after in pairs)
    return count


def for_pictures(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the zoo's detector for pictures of 0 to 1: its first layer sees them as the zoo's.

    Only at the picture's edge, where the layer pads with 0, is its answer another.
    """
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    arrays = {one.name: one for one in model.graph.initializer}
    weight = onnx.numpy_helper.to_array(arrays[first.input[1]])
    bias = onnx.numpy_helper.to_array(arrays[first.input[2]])
    moved = {
        first.input[1]: weight * np.float32(_SPAN),
        first.input[2]: bias + np.float32(_DARKEST) * weight.sum(axis=(1, 2, 3)),
    }
    for name, values in moved.items():
        arrays[name].CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return model


def for_peers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model for a batch of one, with the metadata that Ultralytics reads."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    labels = ZOO[MODEL].spec.output.labels
    facts = {
        "task": "detect",
        "stride": str(_STRIDE),
        "batch": "1",
        "imgsz": str([SIDE_PX, SIDE_PX]),
        "names": str(dict(enumerate(labels))),
    }
    onnx.helper.set_model_props(model, facts)
    return model


def _make_bundle(fp32: Path, folder: Path, bundle: Path, work: Path) -> None:
    pictures, spec = work / "pictures", work / "spec.json"
    pictures.mkdir(exist_ok=True)
    found = scenes(100, SIDE_PX, "learn", np.random.default_rng(1))
    for number, tensor in enumerate(found.tensors):
        cv2.imwrite(str(pictures / f"{number:03d}.png"), _picture_of(tensor))
    # A digit is one object, whatever it is taken for: after a minute classes are guesses.
    output = msgspec.structs.replace(ZOO[MODEL].spec.output, class_agnostic=True)
    spec.write_bytes(msgspec.json.encode(msgspec.structs.replace(ZOO[MODEL].spec, output=output)))
    quantize_model(fp32, folder, pictures, Options(name=NAME, spec_file=spec))
    pack_directory(folder, bundle, Label(NAME, "1.0.0"), unverified=True)


def _picture_of(tensor: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (BGR) that the detector sees as this tensor of the zoo."""
    scaled = np.clip((tensor - _DARKEST) / _SPAN * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(scaled.transpose(1, 2, 0)[:, :, ::-1])


def _scenery() -> tuple[NDArray[np.uint8], list[Passing]]:
    """Return the background and what passes in front of it."""
    rng = np.random.default_rng(2)
    ground = cv2.resize(rng.normal(0, 0.4, (9, 16)).astype(np.float32), CLIP_PX)
    back = _picture_of(np.stack([np.asarray(ground, np.float32)] * 3))
    height = CLIP_PX[1]
    parts = [
        Passing(picture, (number * (height - 200)) // _OBJECTS + 20, 6 + 2 * number, number * 311)
        for number, picture in enumerate(list(_digit_pictures(rng))[:_OBJECTS])
    ]
    return back, parts


def _draw_clip(path: Path, count: int, back: NDArray[np.uint8], parts: list[Passing]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, CLIP_PX)
    for frame in range(count):
        picture = back.copy()
        for part in parts:
            side, x = part.picture.shape[0], part.left_px(frame)
            left, right = max(x, 0), min(x + side, CLIP_PX[0])
            if right > left:
                rows = slice(part.top_px, part.top_px + side)
                picture[rows, left:right] = part.picture[:, left - x : right - x]
        writer.write(picture)
    writer.release()


def _digit_pictures(rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield digits of 80 to 180 pixels, cut out of scenes."""
    found = scenes(4 * _OBJECTS, SIDE_PX, "judge", rng)
    for tensor, objects in zip(found.tensors, found.objects, strict=True):
        for x1, y1, x2, y2 in objects.boxes.astype(int).tolist():
            if x2 - x1 >= 24:  # noqa: PLR2004 - smaller ones are blurred when enlarged
                side = int(rng.integers(80, 180))
                part = cv2.resize(_picture_of(tensor)[y1:y2, x1:x2], (side, side))
                yield part.astype(np.uint8)
                break
