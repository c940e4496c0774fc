"""The networks of the comparison that no recipe trains."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "silu"]
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}
STRIDES = (8, 16, 32)
_VGG_HALF = ((32, 32), (64, 64), (128,) * 3, (256,) * 3, (256,) * 3)
FEATURES, WINDOW, HIDDEN, SERIES_CLASSES = 8, 64, 128, 5
_SEEN_STEPS = 9


class _ConvNorm(nn.Sequential):
    """Convolution, batch norm and activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            _ACTIVATIONS[activation](),
        )


class HalfVgg(nn.Module):
    """VGG-16 of half the width with batch norm, pooled over all places before two dense layers.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in _VGG_HALF:
            for outputs in stage:
                layers.append(_ConvNorm(inputs, outputs, 3, 1, "relu"))
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(inputs, 1024)
        self.classifier = nn.Linear(1024, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W)."""
        pooled = self.features(pictures).mean((2, 3))
        logits: Tensor = self.classifier(functional.relu(self.hidden(pooled)))
        return logits


class _Stage(nn.Module):
    """Residual blocks whose every result is joined (C2f, without ``chunk``)."""

    def __init__(self, width: int, blocks: int, activation: Activation) -> None:
        super().__init__()
        half = width // 2
        self.first = _ConvNorm(width, half, 1, 1, activation)
        self.second = _ConvNorm(width, half, 1, 1, activation)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                _ConvNorm(half, half, 3, 1, activation), _ConvNorm(half, half, 3, 1, activation)
            )
            for _ in range(blocks)
        )
        self.last = _ConvNorm(half * (2 + blocks), width, 1, 1, activation)

    def forward(self, features: Tensor) -> Tensor:
        parts = [self.first(features), self.second(features)]
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        joined: Tensor = self.last(torch.cat(parts, 1))
        return joined


class GridDetector(nn.Module):
    """A detector of the YOLO kind with three grids and free of anchors, decoded in the graph.

    The order of its layers follows YOLOv8 (Jocher et al. 2023), with one distance for each side.

    Args:
        activation: After each convolution.
        classes: Number of classes.
        width: Channels of the first convolution.
    """

    def __init__(self, activation: Activation, classes: int = 80, width: int = 16) -> None:
        super().__init__()
        a, w = activation, width
        self.stem = nn.Sequential(
            _ConvNorm(3, w, 3, 2, a), _ConvNorm(w, 2 * w, 3, 2, a), _Stage(2 * w, 1, a)
        )
        self.down8 = nn.Sequential(_ConvNorm(2 * w, 4 * w, 3, 2, a), _Stage(4 * w, 2, a))
        self.down16 = nn.Sequential(_ConvNorm(4 * w, 8 * w, 3, 2, a), _Stage(8 * w, 2, a))
        self.down32 = nn.Sequential(_ConvNorm(8 * w, 16 * w, 3, 2, a), _Stage(16 * w, 1, a))
        self.narrow32 = _ConvNorm(16 * w, 8 * w, 1, 1, a)
        self.narrow16 = _ConvNorm(16 * w, 4 * w, 1, 1, a)
        self.mix16 = _Stage(4 * w, 1, a)
        self.mix8 = _ConvNorm(8 * w, 4 * w, 1, 1, a)
        self.heads = nn.ModuleList(
            nn.Sequential(_ConvNorm(c, 4 * w, 3, 1, a), _ConvNorm(4 * w, 4 * w, 3, 1, a))
            for c in (4 * w, 4 * w, 8 * w)
        )
        self.sides = nn.ModuleList(nn.Conv2d(4 * w, 4, 1) for _ in STRIDES)
        self.classes = nn.ModuleList(_background_first(4 * w, classes) for _ in STRIDES)

    def raw(self, pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return for each grid the sides (B, 4, H, W), in cells, and class logits (B, C, H, W)."""
        at8 = self.down8(self.stem(pictures))
        at16 = self.down16(at8)
        up32 = self.narrow32(self.down32(at16))
        up16 = self.mix16(self.narrow16(torch.cat([_doubled(up32), at16], 1)))
        up8 = self.mix8(torch.cat([_doubled(up16), at8], 1))
        found = []
        for features, head, sides, classes in zip(
            (up8, up16, up32), self.heads, self.sides, self.classes, strict=True
        ):
            common = head(features)
            found.append((functional.softplus(sides(common)), classes(common)))
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """Return (B, 4 + C, N): centre and size in pixels, and scores, for each cell."""
        tables = []
        for (sides, logits), stride in zip(self.raw(pictures), STRIDES, strict=True):
            rows, columns = sides.shape[2:]
            boxes = _boxes(sides, rows, columns) * stride
            tables.append(torch.cat([boxes, logits.sigmoid().flatten(2)], 1))
        return torch.cat(tables, 2)


def _background_first(inputs: int, classes: int) -> nn.Conv2d:
    """Return the layer of class logits, which says at first that nearly every cell is empty."""
    layer = nn.Conv2d(inputs, classes, 1)
    assert layer.bias is not None  # noqa: S101 - it has one unless told otherwise
    nn.init.constant_(layer.bias, -4.0)
    return layer


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0)


def _boxes(sides: Tensor, rows: int, columns: int) -> Tensor:
    """Return centres and sizes (B, 4, N) in cells for sides (B, 4, H, W)."""
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    cells = torch.stack([x.flatten(), y.flatten()])
    flat = sides.flatten(2)
    before, behind = flat[:, :2], flat[:, 2:]
    return torch.cat([cells + (behind - before) / 2, before + behind], 1)


class Recurrent(nn.Module):
    """Two recurrent layers of 128 states, read at the last step.

    Args:
        kind: Which cells.
    """

    def __init__(self, kind: Literal["LSTM", "GRU"]) -> None:
        super().__init__()
        layer = nn.LSTM if kind == "LSTM" else nn.GRU
        self.layers = layer(FEATURES, HIDDEN, 2, batch_first=True)
        self.classifier = nn.Linear(HIDDEN, SERIES_CLASSES)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, 5) for windows (B, T, 8)."""
        states, _ = self.layers(windows)
        logits: Tensor = self.classifier(states[:, -1])
        return logits


class Transformer(nn.Module):
    """Two encoder layers of width 128 with four heads, averaged over the steps.

    Places are learnt, and each step is seen with its neighbours: averaged over single steps,
    waves of all frequencies look alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Conv1d(FEATURES, HIDDEN, _SEEN_STEPS, padding=_SEEN_STEPS // 2)
        self.positions = nn.Parameter(torch.zeros(1, WINDOW, HIDDEN))
        layer = nn.TransformerEncoderLayer(HIDDEN, 4, 4 * HIDDEN, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(HIDDEN, SERIES_CLASSES)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, 5) for windows (B, T, 8)."""
        steps = self.widen(windows.transpose(1, 2)).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.encoder(steps).mean(1))
        return logits
