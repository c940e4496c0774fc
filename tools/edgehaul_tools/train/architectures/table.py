"""The table of all networks, and how one is built by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from torch import nn

from edgehaul.errors import ModelError
from edgehaul_tools.train.architectures import (
    adversarial,
    alexnet,
    attention,
    autoencoder,
    builders,
    googlenet,
    inception,
    mobilenet,
    resnet,
    vgg,
)
from edgehaul_tools.train.architectures.architecture import Architecture, Purpose, Quantization

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB in 0..1; classifiers of pictures take what is normalised by them."""

_PUBLISHED = (
    "torchvision's weights fit; their code is BSD-3-Clause, but ImageNet, which they were learnt "
    "from, is for research that earns nothing: ask whether your use is covered"
)
_NONE = "none published"
_PLAIN = Quantization("good", "convolutions and ReLU; batch norm folds away")
_LARGE = Quantization("good", "convolutions, ReLU, and large matrices that shrink to a quarter")
_DEPTHWISE = Quantization("fair", "ReLU6, but depthwise kernels need a scale for each channel")
_GATED = Quantization("fair", "its convolutions do; the attention's sigmoids stay float")
_TOKENS = Quantization("poor", "its matrices do; layer norm, softmax and GELU stay float")
_SMALL_TOKENS = Quantization("fair", "its matrices do; layer norm and softmax stay float")
_LSTM = Quantization("good", "ONNX Runtime has an int8 kernel, with scales found as it runs")
_GRU = Quantization("poor", "ONNX Runtime has no int8 kernel for it")
_DRAWS = Quantization("poor", "pictures are drawn on the workstation, where nothing needs int8")


def _pictures(
    name: str,
    build: Callable[..., nn.Module],
    paper: str,
    int8: Quantization,
    *,
    least: int,
    side: int = 224,
    note: str = _PUBLISHED,
) -> Architecture:
    sizes = {"classes": 1000, "width": side, "height": side}
    shape = (3, side, side)
    return Architecture(name, "classify-picture", build, sizes, shape, paper, int8, least, note)


def _series(
    name: str, build: Callable[..., nn.Module], paper: str, int8: Quantization
) -> Architecture:
    sizes = {
        "features": 4,
        "window": 16,
        "hidden": 64,
        "layers": 1,
        "dropout": 0.0,
        "outputs": 4,
    }
    return Architecture(name, "sequence", build, sizes, (16, 4), paper, int8)


def _detectors(size: str) -> Architecture:
    name, paper = f"detector_{size}", "after FCOS, Tian et al. 2019, arXiv:1904.01355"
    build = builders.detector(size)
    return Architecture(name, "detect", build, {"classes": 3}, (3, 240, 320), paper, _PLAIN, 16)


_unsized = builders.unsized
_VGG = "Simonyan and Zisserman 2014, arXiv:1409.1556"
_RESNET = "He et al. 2015, arXiv:1512.03385"
_CLASSIFIERS = (
    _pictures(
        "alexnet",
        _unsized(alexnet.AlexNet),
        "Krizhevsky 2014, arXiv:1404.5997",
        _LARGE,
        least=alexnet.LEAST_SIDE_PX,
    ),
    *(
        _pictures(
            f"vgg{depth}{'_bn' if norm else ''}",
            _unsized(partial(vgg.Vgg, depth, batch_norm=norm)),
            _VGG,
            _LARGE,
            least=vgg.LEAST_SIDE_PX,
        )
        for depth in (11, 16)
        for norm in (False, True)
    ),
    *(
        _pictures(
            f"resnet{depth}",
            _unsized(partial(resnet.ResNet, depth)),
            _RESNET,
            _PLAIN,
            least=resnet.LEAST_SIDE_PX,
        )
        for depth in (18, 34, 50)
    ),
    _pictures(
        "googlenet",
        _unsized(googlenet.GoogLeNet),
        "Szegedy et al. 2014, arXiv:1409.4842",
        _PLAIN,
        least=googlenet.LEAST_SIDE_PX,
    ),
    _pictures(
        "inception_v3",
        _unsized(inception.InceptionV3),
        "Szegedy et al. 2015, arXiv:1512.00567",
        _PLAIN,
        least=inception.LEAST_SIDE_PX,
        side=299,
    ),
    _pictures(
        "mobilenet_v2",
        _unsized(mobilenet.MobileNetV2),
        "Sandler et al. 2018, arXiv:1801.04381",
        _DEPTHWISE,
        least=mobilenet.LEAST_SIDE_PX,
    ),
    _pictures(
        "cbam_resnet18",
        _unsized(builders.cbam_resnet18),
        "Woo et al. 2018, arXiv:1807.06521",
        _GATED,
        least=resnet.LEAST_SIDE_PX,
        note=_NONE,
    ),
    _pictures(
        "vit_tiny",
        attention.VisionTransformer,
        "Dosovitskiy et al. 2021, arXiv:2010.11929; Touvron et al. 2021, arXiv:2012.12877",
        _TOKENS,
        least=attention.LEAST_SIDE_PX,
        note=_NONE,
    ),
)
_OTHERS = (
    *(_detectors(size) for size in ("nano", "small", "medium")),
    Architecture(
        "image_autoencoder",
        "anomaly-picture",
        autoencoder.ImageAutoencoder,
        {"width": 64, "height": 64, "channels": 16, "latent": 64},
        (3, 64, 64),
        "Hinton and Salakhutdinov 2006; Bergmann et al. 2019, arXiv:1807.02011",
        _PLAIN,
        autoencoder.STRIDE_PX,
    ),
    Architecture(
        "generator",
        "generate",
        builders.generator,
        {"classes": 3, "latent": 64, "channels": 32, "width": 32, "height": 32},
        (64,),
        "Radford et al. 2016, arXiv:1511.06434; Miyato and Koyama 2018, arXiv:1802.05637",
        _DRAWS,
        adversarial.STRIDE_PX,
    ),
    Architecture(
        "discriminator",
        "judge",
        builders.discriminator,
        {"classes": 3, "channels": 32, "width": 32, "height": 32},
        (3, 32, 32),
        "Miyato et al. 2018, arXiv:1802.05957; Miyato and Koyama 2018, arXiv:1802.05637",
        _DRAWS,
        adversarial.STRIDE_PX,
    ),
    _series("lstm", builders.recurrent("lstm"), "Hochreiter and Schmidhuber 1997", _LSTM),
    _series("gru", builders.recurrent("gru"), "Cho et al. 2014, arXiv:1406.1078", _GRU),
    _series("tcn", builders.temporal_conv, "Bai et al. 2018, arXiv:1803.01271", _PLAIN),
    _series(
        "transformer",
        builders.transformer,
        "Vaswani et al. 2017, arXiv:1706.03762",
        _SMALL_TOKENS,
    ),
    _series(
        "autoencoder",
        builders.sequence_autoencoder,
        "Malhotra et al. 2016, arXiv:1607.00148, with convolutions",
        _PLAIN,
    ),
)
ARCHITECTURES: dict[str, Architecture] = {row.name: row for row in (*_CLASSIFIERS, *_OTHERS)}
"""All networks by name."""


def architecture(name: str, task: Purpose) -> Architecture:
    """Return a row of the table.

    Raises:
        ModelError: There is no network of this name for this task.
    """
    names = [row.name for row in ARCHITECTURES.values() if row.task == task]
    if name in names:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(name, names, n=1)
    raise ModelError(
        f"there is no network {name!r} for {task}",
        where="network",
        remedy=f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}",
    )


def build_classifier(name: str, classes: int, *, width: int, height: int) -> nn.Module:
    """Return a classifier of pictures with random weights.

    It takes (B, 3, height, width) float32, RGB normalised by ``IMAGENET_MEAN`` and
    ``IMAGENET_STD``, and returns logits (B, classes).

    Args:
        name: Of the architecture.
        classes: Number of classes.
        width: Width of the canvas in pixels.
        height: Height of the canvas in pixels.

    Raises:
        ModelError: There is no such classifier, or the canvas is too small for it.
    """
    row = architecture(name, "classify-picture")
    if min(width, height) < row.least_side_px:
        raise ModelError(
            f"{name} cannot look at {width}x{height} pixels",
            where="network",
            remedy=f"set width and height to {row.least_side_px} or more, "
            "or take a network for smaller pictures (resnet18)",
        )
    if classes < 1:
        raise ModelError("a classifier needs a class", where="network", remedy="label the pictures")
    return row.build(classes=classes, width=width, height=height)


def build_sequence(
    name: str,
    features: int,
    window: int,
    hidden: int,
    layers: int,
    dropout: float,
    outputs: int,
) -> nn.Module:
    """Return a network of series with random weights.

    It takes normalised windows (B, window, features) float32 and returns (B, outputs); an
    ``autoencoder`` returns the windows as it can rebuild them, (B, window, features).

    Args:
        name: ``lstm``, ``gru``, ``tcn``, ``transformer`` or ``autoencoder``.
        features: Number of values at each step.
        window: Number of steps.
        hidden: Size of the recurrent state, or width of the layers.
        layers: Number of layers; a ``tcn`` has more where the window needs it.
        dropout: Share of the values that are left out while learning.
        outputs: Number of classes, or of values; an ``autoencoder`` does not look at it.

    Raises:
        ModelError: There is no such network.
    """
    return architecture(name, "sequence").build(
        features=features,
        window=window,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        outputs=outputs,
    )
