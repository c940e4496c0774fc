"""The recipe of a training, ``recipe.yaml``: what is learnt, from what, and how."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehaul.bundle.spec import MAX_SIDE_PX, FixFilter, Resize
from edgehaul.config.recipe_sections import (
    AugmentSection,
    ClassLossSection,
    OptimizerSection,
    SplitSection,
)
from edgehaul.config.section import Section

_STRIDE_PX = 16
"""The coarsest grid of the detector: the canvas must be a whole number of its cells."""

DetectorSize = Literal["nano", "small", "medium"]
SequenceNetworkName = Literal["lstm", "gru", "tcn", "transformer", "autoencoder"]
SequenceGoal = Literal["classify", "next_position", "anomaly"]
Multiplication = Literal["auto", "float32", "bfloat16"]


class _Training(Section, frozen=True, kw_only=True):
    """What every training has.

    Attributes:
        dataset: Folder of the dataset, relative to the recipe's file.
        split: Which part of the dataset is for what.
        optimizer: How the weights are found.
        seed: The same seed gives the same weights on the same machine.
        threads: Processor threads of each process; 0 takes all.
        precision: ``auto`` multiplies in bfloat16 where the processor does so itself, in
            about two thirds of the time; ``float32`` gives more alike results on all machines;
            ``bfloat16`` does so everywhere, and slowly where the processor emulates it.
    """

    dataset: str = ""
    split: SplitSection = SplitSection()
    optimizer: OptimizerSection = OptimizerSection()
    seed: int = 0
    threads: int = 0
    precision: Multiplication = "auto"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.threads < 0 or self.seed < 0:
            raise ValueError("threads and seed must not be below 0")


class _PictureTraining(_Training, frozen=True, kw_only=True):
    """What every training on pictures has.

    Attributes:
        form: Form of the labels (``auto``, ``coco``, ``yolo``, ``voc``, ``folder``, ...).
        width: Width of the model's canvas in pixels.
        height: Height of the model's canvas in pixels.
        resize: How a picture is brought onto the canvas.
        color: Order of the colour channels.
        augment: How training pictures are varied.
    """

    form: str = "auto"
    width: int = 224
    height: int = 224
    resize: Resize = "letterbox"
    color: Literal["rgb", "bgr"] = "rgb"
    augment: AugmentSection = AugmentSection()

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        for name, side in (("width", self.width), ("height", self.height)):
            if not 1 <= side <= MAX_SIDE_PX:
                raise ValueError(f"{name} must be above 0 and up to {MAX_SIDE_PX}")


class DetectorRecipe(_PictureTraining, frozen=True, kw_only=True):
    """The training of an object detector; its canvas is a multiple of 16 pixels.

    Attributes:
        size: ``nano``, ``small`` or ``medium``; sets ``channels`` where those are not given.
        channels: Width of the network at 1/2, 1/4, 1/8 and 1/16 of the canvas.
        score_threshold: Detections below it are dropped by whoever runs the model.
        iou_threshold: Overlap above which the lower-scoring of two boxes is dropped.
        class_agnostic: Whether boxes of different classes suppress each other.
    """

    width: int = 320
    height: int = 240
    size: DetectorSize = "nano"
    channels: tuple[int, int, int, int] | None = None
    score_threshold: float = 0.35
    iou_threshold: float = 0.5
    class_agnostic: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that the network cannot have, and values outside their range."""
        super().__post_init__()
        for name, side in (("width", self.width), ("height", self.height)):
            if side < _STRIDE_PX or side % _STRIDE_PX:
                raise ValueError(f"{name} must be a multiple of {_STRIDE_PX} up to {MAX_SIDE_PX}")
        if self.channels is not None and min(self.channels) < 1:
            raise ValueError("channels must be above 0")
        if not (0 <= self.score_threshold <= 1 and 0 <= self.iou_threshold <= 1):
            raise ValueError("score_threshold and iou_threshold must be in 0..1")


class ClassifierRecipe(_PictureTraining, frozen=True, kw_only=True):
    """The training of a classifier of whole pictures.

    Attributes:
        network: Name of the architecture (``edgehaul bench models`` lists them).
        weights: File of a state dict to start from, relative to the recipe's file; published
            torchvision weights fit, and a last layer for other classes is left out.
        loss: The loss, and what is done about rare classes.
        score_threshold: Answers below it are not reported.
    """

    network: str = "resnet18"
    weights: str = ""
    resize: Resize = "stretch"
    loss: ClassLossSection = ClassLossSection(label_smoothing=0.05)
    score_threshold: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        if not 0 <= self.score_threshold <= 1:
            raise ValueError("score_threshold must be in 0..1")


class AnomalyRecipe(_PictureTraining, frozen=True, kw_only=True):
    """The training of an autoencoder that knows normal pictures, and so sees others.

    Attributes:
        normal_label: Label of the pictures that are normal; without one, all are. Only they
            are learnt from; the others of the validation part choose the threshold.
        channels: Width of the network's first layer.
        latent: Number of values that a picture is squeezed into.
        false_alarms: Share of normal pictures that may be reported, which sets the threshold.
    """

    width: int = 64
    height: int = 64
    resize: Resize = "stretch"
    normal_label: str = ""
    channels: int = 16
    latent: int = 64
    false_alarms: float = 0.01

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        if self.width % _STRIDE_PX or self.height % _STRIDE_PX:
            raise ValueError(f"width and height must be multiples of {_STRIDE_PX}")
        if self.channels < 1 or self.latent < 1 or not 0 < self.false_alarms < 1:
            raise ValueError("channels and latent must be above 0, false_alarms in 0..1")


class GeneratorRecipe(_PictureTraining, frozen=True, kw_only=True):
    """The training of a conditional GAN that makes pictures of rare classes.

    Of a detection dataset the objects are cut out: each is one small picture of its class.

    Attributes:
        channels: Width of the networks' narrowest layer.
        latent: Number of random values that a picture is made from.
        generator_rate: Learning rate of the generator, as a part of the discriminator's.
    """

    width: int = 32
    height: int = 32
    resize: Resize = "stretch"
    optimizer: OptimizerSection = OptimizerSection(
        epochs=100, batch=32, learning_rate=4e-4, weight_decay=0.0, average_decay=0.995
    )
    channels: int = 32
    latent: int = 64
    generator_rate: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        if self.width % _STRIDE_PX or self.height % _STRIDE_PX:
            raise ValueError(f"width and height must be multiples of {_STRIDE_PX}")
        if self.channels < 1 or self.latent < 1 or self.generator_rate <= 0:
            raise ValueError("channels, latent and generator_rate must be above 0")


class SequenceRecipe(_Training, frozen=True, kw_only=True):
    """The training of a model of GPS traces, or of other series, window by window.

    Attributes:
        network: Name of the architecture.
        goal: ``classify`` names what happens in a window; ``next_position`` says where the
            vehicle will be in ``horizon_s``; ``anomaly`` learns normal windows alone and is
            surprised by others (``network: autoencoder``).
        features: Names of the features (see ``edgehaul.motion.features``), in order; of other
            series the names of their channels, where empty means all.
        window: Number of time steps that the model sees at once.
        interval_s: Time between two steps.
        filter: What passes over a trace's fixes first, in training and on the box alike:
            ``kalman`` is for receivers that give no speed, or a rough one.
        hop: Steps between two windows when the model is run.
        normal_label: Label of the windows without an event.
        decision_s: Span at a window's end in which an event gives the window its label.
        overlap_s: Least time an event must last within that span; windows with less are
            not learnt from, as neither answer is wrong.
        horizon_s: How far ahead ``next_position`` looks.
        hidden: Size of the recurrent state, or width of the layers.
        layers: Number of layers.
        dropout: Share of the values that are left out while learning.
        loss: The loss of a classifier, and what is done about rare classes.
        false_alarms: Share of normal windows that may be reported, which sets the threshold
            of ``anomaly``.
        score_threshold: Score from which an event is reported.
    """

    network: SequenceNetworkName = "lstm"
    goal: SequenceGoal = "classify"
    features: tuple[str, ...] = ("speed_mps", "acceleration_mps2", "jerk_mps3", "heading_rate_dps")
    window: int = 16
    interval_s: float = 1.0
    filter: FixFilter = "none"
    hop: int = 1
    normal_label: str = "normal"
    decision_s: float = 6.0
    overlap_s: float = 2.0
    horizon_s: float = 5.0
    hidden: int = 64
    layers: int = 1
    dropout: float = 0.0
    loss: ClassLossSection = ClassLossSection(balance="draw")
    optimizer: OptimizerSection = OptimizerSection(
        epochs=4, batch=128, learning_rate=4e-3, average_decay=0.98
    )
    false_alarms: float = 0.01
    score_threshold: float = 0.6

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        if min(self.window, self.hop, self.hidden, self.layers) < 1:
            raise ValueError("window, hop, hidden and layers must not be zero")
        if self.interval_s <= 0 or not 0 < self.overlap_s <= self.decision_s:
            raise ValueError("interval_s must be above 0, and overlap_s in 0..decision_s")
        if not (0 <= self.score_threshold <= 1 and 0 <= self.dropout < 1):
            raise ValueError("score_threshold must be in 0..1 and dropout in 0..<1")
        if self.horizon_s <= 0 or not 0 < self.false_alarms < 1:
            raise ValueError("horizon_s must be above 0 and false_alarms in 0..1")
        if (self.network == "autoencoder") != (self.goal == "anomaly"):
            raise ValueError("goal 'anomaly' and network 'autoencoder' go together")


Training = DetectorRecipe | ClassifierRecipe | AnomalyRecipe | GeneratorRecipe | SequenceRecipe


class Recipe(Section, frozen=True):
    """A recipe's file: exactly one of its sections.

    Attributes:
        detector: The training of an object detector.
        classifier: The training of a classifier of whole pictures.
        anomaly: The training of an autoencoder that finds unusual pictures.
        generator: The training of a GAN that makes pictures of rare classes.
        sequence: The training of a model of GPS traces.
    """

    detector: DetectorRecipe | None = None
    classifier: ClassifierRecipe | None = None
    anomaly: AnomalyRecipe | None = None
    generator: GeneratorRecipe | None = None
    sequence: SequenceRecipe | None = None

    def __post_init__(self) -> None:
        """Refuse a file that trains nothing, or two things."""
        if sum(getattr(self, name) is not None for name in self.__struct_fields__) != 1:
            names = ", ".join(repr(name) for name in self.__struct_fields__)
            raise ValueError(f"name exactly one of {names}")

    @property
    def kind(self) -> str:
        """Name of the section that is there."""
        return next(n for n in self.__struct_fields__ if getattr(self, n) is not None)

    @property
    def training(self) -> Training:
        """The section that is there."""
        training: Training = getattr(self, self.kind)
        return training

    def with_training(self, training: Training) -> Recipe:
        """Return the recipe with another section of the same kind."""
        return msgspec.structs.replace(self, **{self.kind: training})
