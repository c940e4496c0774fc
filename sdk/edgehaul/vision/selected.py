"""Heads of models that choose their boxes themselves: nothing is suppressed after them.

===========  ==========================================================================
end2end      (1, N, 6): ``x1, y1, x2, y2`` in canvas pixels, score, class from 0; a row for
             each detection, the rest with a score of 0
ssd_tf       boxes (1, N, 4) ``y1, x1, y2, x2`` in 0..1 of the canvas, classes (1, N), scores
             (1, N), and where there is one the number of rows that count
torchvision  boxes (N, 4) ``x1, y1, x2, y2`` in canvas pixels, classes (N,), scores (N,)
===========  ==========================================================================

``tensors`` of the spec says which output holds what; ``first_class`` is the number of the first
label in classes of the latter two. Sources: Ultralytics' exports without NMS (YOLOv10, Wang et al.,
2024, arXiv:2405.14458) or with it in the graph; TensorFlow's Object Detection API and the
``TFLite_Detection_PostProcess`` operator; torchvision's detection models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgehaul.bundle.spec import ImageInput, OutputSpec, OutputTensor
from edgehaul.vision.heads import BOX_VALUES, Candidates, Head, Outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

END2END_VALUES = BOX_VALUES + 2
"""Box, score and class."""
_USUAL_TENSORS: tuple[OutputTensor, ...] = ("boxes", "classes", "scores", "count")


def end2end_head(outputs: Outputs, _canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read rows of box, score and class."""
    table = outputs[0][0]
    return _chosen(table[:, :BOX_VALUES], table[:, 4], table[:, 5], spec)


def ssd_tf_head(outputs: Outputs, canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read boxes in 0..1 of the canvas, y before x, with classes and scores beside them."""
    at = tensor_places(spec)
    boxes, classes, scores = (outputs[at[name]][0] for name in ("boxes", "classes", "scores"))
    if "count" in at and at["count"] < len(outputs):
        count = outputs[at["count"]].ravel()
        rows = int(count[0]) if count.size else 0
        boxes, classes, scores = boxes[:rows], classes[:rows], scores[:rows]
    size = np.array([canvas.width, canvas.height] * 2, dtype=np.float32)
    return _chosen(boxes[:, [1, 0, 3, 2]] * size, scores, classes - spec.first_class, spec)


def torchvision_head(outputs: Outputs, _canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read boxes in canvas pixels with classes and scores beside them."""
    at = tensor_places(spec)
    boxes, classes, scores = (outputs[at[name]] for name in ("boxes", "classes", "scores"))
    return _chosen(boxes, scores, classes - spec.first_class, spec)


SELECTED_HEADS: dict[str, Head] = {
    "end2end": end2end_head,
    "ssd_tf": ssd_tf_head,
    "torchvision": torchvision_head,
}


def tensor_places(spec: OutputSpec) -> dict[OutputTensor, int]:
    """Return which output holds what; the usual order where the spec does not say."""
    names = spec.tensors or _USUAL_TENSORS
    return {name: place for place, name in enumerate(names) if name != "other"}


def _chosen(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.floating] | NDArray[np.integer],
    spec: OutputSpec,
) -> Candidates:
    """Return the rows that reach the threshold and are of a class with a label."""
    last = len(spec.labels) - 0.5 if spec.labels else np.inf
    # What is no number fails every comparison.
    wanted = (scores >= spec.score_threshold) & (class_ids > -0.5) & (class_ids < last)  # noqa: PLR2004
    rows = np.flatnonzero(wanted)
    chosen = np.rint(class_ids[rows]).astype(np.int64)
    return Candidates(
        boxes[rows].astype(np.float32, copy=False),
        scores[rows].astype(np.float32, copy=False),
        chosen,
    )
