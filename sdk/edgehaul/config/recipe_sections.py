"""The sections that recipes of all kinds share: parts, optimizer, loss, augmentation."""

from __future__ import annotations

from typing import Literal

from edgehaul.config.section import Section

_MAX_TURN_DEG = 180.0


class SplitSection(Section, frozen=True):
    """Which part of the dataset is for what; groups are never torn apart.

    Attributes:
        source: ``made`` divides the dataset by the shares; ``given`` keeps the parts that the
            dataset comes with (split files, folders called train, val and test; of trips and
            series the ``split.json`` that ``edgehaul data split`` writes).
        train: Share that is learnt from.
        val: Share that reports during the training and stops it early.
        test: Share that nothing looks at before ``edgehaul evaluate`` and ``verify``.
        seed: The same seed gives the same parts.
    """

    source: Literal["made", "given"] = "made"
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


class AugmentSection(Section, frozen=True):
    """How training pictures are varied; zero switches a variation off.

    The geometric ones are one warp: a picture is resampled once.

    Attributes:
        flip: Share of the pictures mirrored left to right.
        flip_vertical: Share of the pictures mirrored top to bottom, for cameras that look down.
        scale: Largest relative change of the size.
        shift: Largest shift as a share of the canvas.
        rotate_deg: Largest turn, in degrees.
        shear_deg: Largest shear, in degrees.
        perspective: Largest relative change of the depth from one side to the other.
        mosaic: Share of the pictures that are put together of four; detectors only.
        brightness: Largest relative change of the brightness.
        contrast: Largest relative change of the contrast.
        color: Largest relative change of one colour channel against the others.
        blur: Share of the pictures that are out of focus or moved while exposed.
        noise: Share of the pictures with a sensor's noise.
        jpeg: Share of the pictures compressed hard, as cameras with little bandwidth do.
        weather: Share of the pictures with fog, rain or glare.
        low_light: Share of the pictures taken as if at dusk: dark, and noisy for it.
        cut_out: Share of the pictures with parts covered.
    """

    flip: float = 0.5
    flip_vertical: float = 0.0
    scale: float = 0.1
    shift: float = 0.08
    rotate_deg: float = 0.0
    shear_deg: float = 0.0
    perspective: float = 0.0
    mosaic: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    color: float = 0.05
    blur: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0
    weather: float = 0.0
    low_light: float = 0.0
    cut_out: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        shares = ("flip", "flip_vertical", "mosaic", "blur", "noise", "jpeg", "weather")
        for name in (*shares, "low_light", "cut_out"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of the pictures and must be in 0..1")
        for name in ("brightness", "contrast", "color", "scale", "shift", "perspective"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in 0..<1")
        if not (0 <= self.rotate_deg <= _MAX_TURN_DEG and 0 <= self.shear_deg < 45):  # noqa: PLR2004 - degrees
            raise ValueError("rotate_deg must be in 0..180 and shear_deg in 0..<45")


class OptimizerSection(Section, frozen=True):
    """How the weights are found: a cosine schedule with warm-up, averaged weights.

    Attributes:
        algorithm: AdamW, or SGD with Nesterov's momentum.
        epochs: Passes over the training part.
        batch: Pictures or windows in one step, over all processes together.
        learning_rate: The highest rate of the schedule.
        momentum: Of SGD.
        weight_decay: Decay of the weights of convolutions and matrices.
        warmup: Share of the steps in which the rate rises.
        average_decay: Decay of the averaged weights, which are the ones kept; 0 keeps the last.
        gradient_norm: Largest norm of a step's gradient; 0 does not clip.
        patience: Epochs without a better figure on the validation part after which the
            training stops, and the best weights are kept; 0 trains to the end and keeps the last.
        batch_norm_l1: Weight of the L1 norm of the scales of batch norms, which drives whole
            channels to zero for the pruner (Liu et al. 2017, "Network Slimming"); 0 is off.
    """

    algorithm: Literal["adamw", "sgd"] = "adamw"
    epochs: int = 16
    batch: int = 8
    learning_rate: float = 4e-3
    momentum: float = 0.9
    weight_decay: float = 0.02
    warmup: float = 0.08
    average_decay: float = 0.995
    gradient_norm: float = 10.0
    patience: int = 0
    batch_norm_l1: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.epochs < 1 or self.batch < 1 or self.patience < 0:
            raise ValueError("epochs and batch must be at least 1, and patience not below 0")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.gradient_norm < 0:
            raise ValueError(
                "learning_rate must be above 0, weight_decay and gradient_norm not below"
            )
        if not (0 <= self.warmup < 1 and 0 <= self.average_decay < 1 and 0 <= self.momentum < 1):
            raise ValueError("warmup, average_decay and momentum must be in 0..<1")
        if self.batch_norm_l1 < 0:
            raise ValueError("batch_norm_l1 must not be below 0")


class ClassLossSection(Section, frozen=True):
    """The loss of a classifier, and what is done about rare classes.

    Attributes:
        label_smoothing: Share of the answer spread over all classes (Szegedy et al. 2016).
        focal_gamma: How much easy samples count less (Lin et al. 2017); 0 is cross-entropy.
        balance: ``draw`` draws rare classes as often as frequent ones, ``weigh`` weighs their
            losses by the inverse of their frequency, ``none`` does neither.
    """

    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    balance: Literal["none", "draw", "weigh"] = "none"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.label_smoothing < 1 or self.focal_gamma < 0:
            raise ValueError("label_smoothing must be in 0..<1 and focal_gamma not below 0")
