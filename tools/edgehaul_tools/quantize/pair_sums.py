"""Scales as fine as pairs of products bear that a processor adds in 16 bits.

``vpmaddubsw`` multiplies U8 by S8 and adds two neighbouring products with saturation. Two
activations are 255 at most, so a sum is cut only where two neighbouring weights of one sign have
more than 128 steps together (255 * 128 = 32,640 fits into 32,767, 255 * 129 does not). A single
weight may have all its 127 steps: only the sums of neighbours limit the scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 127
"""Of one S8 weight around zero."""
MOST_STEPS_OF_PAIR = (2**15 - 1) // 255
"""Of two weights of one sign whose products are added in 16 bits: 128."""
_LEAST_SCALE = np.finfo(np.float32).tiny


def plain_scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of each channel at which its largest weight has 127 steps.

    Args:
        rows: (channels, K) weights.

    Returns:
        (channels,) float32; 1 where a channel is zero, as ONNX Runtime's quantizer has it.
    """
    scales = (np.abs(rows).max(axis=1, initial=0) / MOST_STEPS).astype(np.float32)
    return np.where(scales < _LEAST_SCALE, np.float32(1), scales)


def safe_scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the finest scale of each channel at which no pair of products can overflow.

    A larger scale makes no rounded weight larger, so that the search goes up from a bound below,
    each time to the scale at which one weight of a broken pair loses a step. It ends at twice the
    plain scale at the latest: no weight has more than 64 steps there.

    Args:
        rows: (channels, K) weights; those of columns 0 and 1, 2 and 3, ... are added.

    Returns:
        (channels,) float32, of the rounding ``rint(rows / scale)`` in float32; see
        :func:`plain_scales`, which they are not below.
    """
    pairs = _magnitudes_of_pairs(rows.astype(np.float32, copy=False))
    # Each of two weights rounds by half a step at most: with 129 steps their sum may still fit,
    # and with 127 it surely does.
    below = (pairs / np.float32(MOST_STEPS_OF_PAIR + 1)).sum(axis=2).max(axis=1, initial=0)
    scales: NDArray[np.float32] = np.maximum(plain_scales(rows), below)
    near = (pairs / scales[:, None, None]).sum(axis=2) > MOST_STEPS_OF_PAIR - 1
    channels, pairs = np.nonzero(near)[0], pairs[near]
    while True:
        steps = np.rint(pairs / scales[channels, None])
        broken = steps.sum(axis=1) > MOST_STEPS_OF_PAIR
        if not broken.any():
            return scales
        affected = channels[broken]
        coarser = (pairs[broken] / (steps[broken] - np.float32(0.5))).min(axis=1)
        coarser = np.maximum(coarser, scales[affected])
        # Beyond the very scale, where a half may be rounded up to an even number of steps.
        np.maximum.at(scales, affected, np.nextafter(coarser, np.float32(np.inf)))


def overflowing(rows: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return of each channel whether a pair of its products can overflow.

    Args:
        rows: (channels, K) rounded weights, paired as in :func:`safe_scales`.
    """
    steps = _magnitudes_of_pairs(rows.astype(np.float32)).sum(axis=2)
    found: NDArray[np.bool_] = (steps > MOST_STEPS_OF_PAIR).any(axis=1)
    return found


def _magnitudes_of_pairs(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (channels, pairs, 2) magnitudes; 0 in pairs of two signs, whose sums are small."""
    even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    pairs = even.reshape(len(rows), even.shape[1] // 2, 2)
    one_sign = np.sign(pairs[..., :1]) == np.sign(pairs[..., 1:])
    return np.where(one_sign, np.abs(pairs), np.float32(0))
