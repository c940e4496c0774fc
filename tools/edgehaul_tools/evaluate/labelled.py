"""What a detector finds in a labelled dataset, in the dataset's own classes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.vision.decode import Decoder, Detections, decoder_for
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Preprocessor
from edgehaul.vision.reading import require_picture
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.export.runtime import Run

SCORE_THRESHOLD = 0.01
"""Average precision weighs unsure detections too."""


def dataset_decoder(spec: ModelSpec, dataset: DetectionDataset) -> Decoder:
    """Return a decoder that gives unsure detections, too, in the dataset's own classes.

    Classes that the dataset does not mark are left out.

    Raises:
        DatasetError: The dataset has a class that the model does not know.
        SpecMismatchError: The model is no detector of pictures.
    """
    output = msgspec.structs.replace(spec.output, score_threshold=SCORE_THRESHOLD)
    decode = decoder_for(msgspec.structs.replace(spec, output=output))
    class_of = np.full(max(len(spec.output.labels), 1), -1, dtype=np.int64)
    class_of[_model_classes(spec, dataset)] = np.arange(len(dataset.labels))

    def decode_marked(outputs: Sequence[NDArray[np.float32]], placement: Placement) -> Detections:
        every = decode(outputs, placement)
        class_ids = class_of[every.class_ids]
        marked = class_ids >= 0
        return Detections(every.boxes[marked], every.scores[marked], class_ids[marked])

    return decode_marked


def detect_in(run: Run, spec: ModelSpec, dataset: DetectionDataset) -> list[Detections]:
    """Return what the model finds in each picture; see :func:`dataset_decoder`.

    Raises:
        DatasetError: The dataset has a class that the model does not know.
        DataError: A picture cannot be decoded.
        SpecMismatchError: The model is no detector of pictures.
    """
    if not isinstance(spec.input, ImageInput):
        raise SpecMismatchError("this model takes no pictures", remedy="give GPS traces")
    decode = dataset_decoder(spec, dataset)
    preprocess = Preprocessor(spec.input)
    found = []
    for sample in dataset.samples:
        tensor, placement = preprocess(require_picture(sample.path))
        found.append(decode(run(tensor), placement))
    return found


def _model_classes(spec: ModelSpec, dataset: DetectionDataset) -> list[int]:
    """Return, for each class of the dataset, the model's class of the same name."""
    known = {label: index for index, label in enumerate(spec.output.labels)}
    missing = [label for label in dataset.labels if label not in known]
    if missing:
        raise DatasetError(
            f"the model does not know {len(missing)} of {len(dataset.labels)} classes of this "
            f"dataset, first {missing[0]!r}",
            where=dataset.root,
            remedy=f"the model knows {', '.join(spec.output.labels[:10])}: quantize it with "
            "--labels that match, or give another dataset",
        )
    return [known[label] for label in dataset.labels]
