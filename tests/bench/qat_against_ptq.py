"""Whether training with int8 in the loop wins back what quantization after the training loses.

A MobileNetV2 learns scikit-learn's handwritten digits (the first half of them, made 32 pixels
wide) and is measured on the second half: as float, quantized after the training with one step for
all weights of a layer (its depthwise layers have channels of very different sizes), and trained on
with that rounding in the loop. The integer kernels that ONNX Runtime runs are counted in its
optimised graphs. With ``--imbalance F`` the weights of each depthwise channel are made up to F
times larger or smaller, and the layers around take it back: the float answers stay the same.

Nothing is asserted: whatever comes out is printed.
"""

import argparse
import collections
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantType  # type: ignore[import-untyped]  # as above
from onnxruntime.quantization.calibrate import TensorData, TensorsData  # type: ignore[import-untyped]  # as above
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # type: ignore[import-untyped]  # as above
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry  # type: ignore[import-untyped]  # as above
from sklearn.datasets import load_digits

from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul_tools.dataset.image_folder import read_image_folder
from edgehaul_tools.evaluate.bootstrap import resampled
from edgehaul_tools.export.run import export_run
from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.quantize.calibrate import Histograms, Ranges, activation_tensors
from edgehaul_tools.quantize.graph import clean, divide, float_region, load_model
from edgehaul_tools.quantize.learnt_ranges import learnt_ranges
from edgehaul_tools.quantize.saturation import weight_bits_here
from edgehaul_tools.quantize.static import guard_float_nodes
