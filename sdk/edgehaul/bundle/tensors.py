"""From a raw golden input to a model's input tensor, the same on the host and on the device."""

from __future__ import annotations

from edgehaul.bundle.golden import MakeTensor
from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.motion.windows import to_tensor
from edgehaul.vision.preprocess import Preprocessor


def tensor_maker(spec: ModelSpec) -> MakeTensor:
    """Return the one pre-processing of a model.

    Args:
        spec: What the model takes.

    Returns:
        Makes (1, ...) tensors of pictures (height, width, 3) uint8 BGR, or of windows
        (steps, features) float32. A picture's tensor is valid until the next call.
    """
    model_input = spec.input
    if isinstance(model_input, SequenceInput):
        return lambda features: to_tensor(features, model_input)
    preprocess = Preprocessor(model_input)
    return lambda picture: preprocess(picture)[0]
