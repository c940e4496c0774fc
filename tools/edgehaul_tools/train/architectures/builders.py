"""One way to build networks of one kind, whatever sizes each of them needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from edgehaul_tools.train.architectures.adversarial import Discriminator, Generator
from edgehaul_tools.train.architectures.autoencoder import SequenceAutoencoder
from edgehaul_tools.train.architectures.cbam import BlockAttention
from edgehaul_tools.train.architectures.convolutional import TemporalConvNet
from edgehaul_tools.train.architectures.detector import DetectorNetwork, shape_of_size
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.architectures.resnet import ResNet
from edgehaul_tools.train.architectures.transformer import SequenceTransformer


def unsized(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return what builds a classifier for a canvas, of what builds one for any canvas."""

    def sized(*, classes: int, width: int, height: int) -> nn.Module:
        del width, height
        return build(classes=classes)

    return sized


def cbam_resnet18(classes: int) -> ResNet:
    """Return ResNet-18 with attention in each block."""
    return ResNet(18, classes, attention=BlockAttention)


def recurrent(
    cell: Literal["lstm", "gru"],
) -> Callable[..., nn.Module]:
    """Return what builds a recurrent network of a kind of cell."""

    def build(
        *, features: int, window: int, hidden: int, layers: int, dropout: float, outputs: int
    ) -> nn.Module:
        del window
        return SequenceNetwork(SequenceShape(features, hidden, outputs, layers, dropout, cell))

    return build


def temporal_conv(
    *, features: int, window: int, hidden: int, layers: int, dropout: float, outputs: int
) -> nn.Module:
    """Return a TCN."""
    return TemporalConvNet(features, window, hidden, layers, dropout, outputs)


def transformer(
    *, features: int, window: int, hidden: int, layers: int, dropout: float, outputs: int
) -> nn.Module:
    """Return a transformer encoder."""
    return SequenceTransformer(features, window, hidden, layers, dropout, outputs)


def sequence_autoencoder(
    *, features: int, window: int, hidden: int, layers: int, dropout: float, outputs: int
) -> nn.Module:
    """Return an autoencoder, which says as many values as it sees, whatever ``outputs`` is."""
    del outputs
    return SequenceAutoencoder(features, window, hidden, layers, dropout)


def detector(size: str) -> Callable[..., nn.Module]:
    """Return what builds a detector of a size."""

    def build(*, classes: int) -> nn.Module:
        return DetectorNetwork(shape_of_size(size, classes))

    return build


def generator(*, classes: int, latent: int, channels: int, width: int, height: int) -> nn.Module:
    """Return the half of a GAN that draws."""
    return Generator(classes, latent, channels, width=width, height=height)


def discriminator(*, classes: int, channels: int, width: int, height: int) -> nn.Module:
    """Return the half of a GAN that judges."""
    return Discriminator(classes, channels, width=width, height=height)
