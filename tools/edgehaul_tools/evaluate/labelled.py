"""What a detector finds in a labelled dataset, in the dataset's own classes."""

from __future__ import annotations

import msgspec
import numpy as np

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.vision.decode import Detections, decoder_for
from edgehaul.vision.preprocess import Preprocessor
from edgehaul.vision.reading import require_picture
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.export.runtime import Run

SCORE_THRESHOLD = 0.01
"""Average precision weighs unsure detections too."""


def detect_in(run: Run, spec: ModelSpec, dataset: DetectionDataset) -> list[Detections]:
    """Return what the model finds in each picture, unsure detections included.

    Classes that the dataset does not mark are left out.

    Raises:
        DatasetError: The dataset has a class that the model does not know.
        DataError: A picture cannot be decoded.
        SpecMismatchError: The model is no detector of pictures.
    """
    if not isinstance(spec.input, ImageInput):
        raise SpecMismatchError("this model takes no pictures", remedy="give GPS traces")
    output = msgspec.structs.replace(spec.output, score_threshold=SCORE_THRESHOLD)
    decode = decoder_for(msgspec.structs.replace(spec, output=output))
    preprocess = Preprocessor(spec.input)
    class_of = np.full(max(len(spec.output.labels), 1), -1, dtype=np.int64)
    class_of[_model_classes(spec, dataset)] = np.arange(len(dataset.labels))
    found = []
    for sample in dataset.samples:
        tensor, placement = preprocess(require_picture(sample.path))
        every = decode(run(tensor), placement)
        class_ids = class_of[every.class_ids]
        marked = class_ids >= 0
        found.append(Detections(every.boxes[marked], every.scores[marked], class_ids[marked]))
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
