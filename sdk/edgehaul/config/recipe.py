"""The recipe of a training, ``recipe.yaml``: what is learnt, from what, and how."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehaul.bundle.spec import MAX_SIDE_PX, Resize

_STRIDE_PX = 16
"""The coarsest grid of the detector: the canvas must be a whole number of its cells."""


class _Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: unknown keys are faults."""


class SplitSection(_Recipe, frozen=True):
    """Which part of the dataset is for what; groups are never torn apart.

    Attributes:
        train: Share that is learnt from.
        val: Share that reports during the training; nothing is learnt or chosen by it.
        test: Share that nothing looks at before ``edgehaul verify``.
        seed: The same seed gives the same parts.
    """

    train: float = 0.7
    val: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse shares that are no parts of a whole."""
        shares = (self.train, self.val, self.test)
        if min(shares) < 0 or self.train == 0 or abs(sum(shares) - 1) > 1e-6:  # noqa: PLR2004 - rounding
            raise ValueError("train, val and test must not be negative and sum to 1, train above 0")
        if self.seed < 0:
            raise ValueError("seed must not be below 0")


class AugmentSection(_Recipe, frozen=True):
    """How training pictures are varied; zero switches a variation off.

    Attributes:
        flip: Share of the pictures mirrored left to right.
        flip_vertical: Share of the pictures mirrored top to bottom, for cameras that look down.
        brightness: Largest relative change of the brightness.
        contrast: Largest relative change of the contrast.
        color: Largest relative change of one colour channel against the others.
        scale: Largest relative change of the size.
        shift: Largest shift as a share of the canvas.
    """

    flip: float = 0.5
    flip_vertical: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    color: float = 0.05
    scale: float = 0.1
    shift: float = 0.08

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not (0 <= self.flip <= 1 and 0 <= self.flip_vertical <= 1):
            raise ValueError("flip and flip_vertical must be in 0..1")
        others = (self.brightness, self.contrast, self.color, self.scale, self.shift)
        if min(others) < 0 or max(others) >= 1:
            raise ValueError("brightness, contrast, color, scale and shift must be in 0..<1")


class OptimizerSection(_Recipe, frozen=True):
    """How the weights are found: AdamW, a cosine schedule, averaged weights.

    Attributes:
        epochs: Passes over the training part.
        batch: Pictures or windows in one step.
        learning_rate: The highest rate of the schedule.
        weight_decay: Decay of the weights of convolutions and matrices.
        warmup: Share of the steps in which the rate rises.
        average_decay: Decay of the averaged weights, which are the ones kept; 0 keeps the last.
        gradient_norm: Largest norm of a step's gradient; 0 does not clip.
    """

    epochs: int = 16
    batch: int = 8
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    warmup: float = 0.08
    average_decay: float = 0.995
    gradient_norm: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.epochs < 1 or self.batch < 1:
            raise ValueError("epochs and batch must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.gradient_norm < 0:
            raise ValueError(
                "learning_rate must be above 0, weight_decay and gradient_norm not below"
            )
        if not (0 <= self.warmup < 1 and 0 <= self.average_decay < 1):
            raise ValueError("warmup and average_decay must be in 0..<1")


class DetectorRecipe(_Recipe, frozen=True):
    """The training of an object detector.

    Attributes:
        dataset: Folder of the labelled pictures, relative to the recipe's file.
        form: Form of the labels (``auto``, ``coco``, ``yolo``, ``voc``).
        split: Which part of the dataset is for what.
        width: Width of the model's canvas in pixels, a multiple of 16.
        height: Height of the model's canvas in pixels, a multiple of 16.
        resize: How a picture is brought onto the canvas.
        color: Order of the colour channels.
        channels: Width of the network at 1/2, 1/4, 1/8 and 1/16 of the canvas.
        optimizer: How the weights are found.
        augment: How training pictures are varied.
        score_threshold: Detections below it are dropped by whoever runs the model.
        iou_threshold: Overlap above which the lower-scoring of two boxes is dropped.
        class_agnostic: Whether boxes of different classes suppress each other.
        seed: The same seed gives the same weights on the same machine.
        threads: Processor threads; 0 takes all.
        precision: ``auto`` multiplies in bfloat16 where the processor does so itself, in
            about two thirds of the time; ``float32`` gives more alike results on all machines.
    """

    dataset: str = ""
    form: str = "auto"
    split: SplitSection = SplitSection()
    width: int = 320
    height: int = 240
    resize: Resize = "letterbox"
    color: Literal["rgb", "bgr"] = "rgb"
    channels: tuple[int, int, int, int] = (8, 24, 48, 96)
    optimizer: OptimizerSection = OptimizerSection()
    augment: AugmentSection = AugmentSection()
    score_threshold: float = 0.35
    iou_threshold: float = 0.5
    class_agnostic: bool = True
    seed: int = 0
    threads: int = 0
    precision: Literal["auto", "float32"] = "auto"

    def __post_init__(self) -> None:
        """Refuse sizes that the network cannot have, and values outside their range."""
        for name, side in (("width", self.width), ("height", self.height)):
            if not _STRIDE_PX <= side <= MAX_SIDE_PX or side % _STRIDE_PX:
                raise ValueError(f"{name} must be a multiple of {_STRIDE_PX} up to {MAX_SIDE_PX}")
        if min(self.channels) < 1 or self.threads < 0 or self.seed < 0:
            raise ValueError("channels must be above 0, threads and seed not below")
        if not (0 <= self.score_threshold <= 1 and 0 <= self.iou_threshold <= 1):
            raise ValueError("score_threshold and iou_threshold must be in 0..1")


class SequenceRecipe(_Recipe, frozen=True):
    """The training of a classifier of GPS traces, window by window.

    Attributes:
        dataset: Folder of the labelled traces, relative to the recipe's file.
        split: Which part of the traces is for what.
        features: Names of the features (see ``edgehaul.motion.features``), in order.
        window: Number of time steps that the model sees at once.
        interval_s: Time between two steps.
        hop: Steps between two windows when the model is run.
        normal_label: Label of the windows without an anomaly.
        decision_s: Span at a window's end in which an anomaly gives the window its label.
        overlap_s: Least time an anomaly must last within that span; windows with less are
            not learnt from, as neither answer is wrong.
        hidden: Size of the recurrent state.
        optimizer: How the weights are found.
        score_threshold: Score from which an anomaly is reported.
        seed: The same seed gives the same weights on the same machine.
        threads: Processor threads; 0 takes all.
    """

    dataset: str = ""
    split: SplitSection = SplitSection()
    features: tuple[str, ...] = ("speed_mps", "acceleration_mps2", "jerk_mps3", "heading_rate_dps")
    window: int = 16
    interval_s: float = 1.0
    hop: int = 1
    normal_label: str = "normal"
    decision_s: float = 6.0
    overlap_s: float = 2.0
    hidden: int = 64
    optimizer: OptimizerSection = OptimizerSection(
        epochs=4, batch=128, learning_rate=4e-3, average_decay=0.98
    )
    score_threshold: float = 0.6
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not self.features or self.window < 1 or self.hop < 1 or self.hidden < 1:
            raise ValueError("features, window, hop and hidden must not be empty or zero")
        if self.interval_s <= 0 or not 0 < self.overlap_s <= self.decision_s:
            raise ValueError("interval_s must be above 0, and overlap_s in 0..decision_s")
        if self.threads < 0 or self.seed < 0:
            raise ValueError("threads and seed must not be below 0")
        if not 0 <= self.score_threshold <= 1:
            raise ValueError("score_threshold must be in 0..1")


class Recipe(_Recipe, frozen=True):
    """A recipe's file: exactly one of its sections.

    Attributes:
        detector: The training of an object detector.
        sequence: The training of a classifier of GPS traces.
    """

    detector: DetectorRecipe | None = None
    sequence: SequenceRecipe | None = None

    def __post_init__(self) -> None:
        """Refuse a file that trains nothing, or two things."""
        if (self.detector is None) == (self.sequence is None):
            raise ValueError("name exactly one of 'detector' and 'sequence'")
