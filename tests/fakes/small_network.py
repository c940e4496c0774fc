"""A network with one of each thing that int8 treats in its own way, and as if it were trained."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Module):
    """A residual block, a pooling of each kind, dropout and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.matrix = nn.Linear(8 * 4, 5)

    def forward(self, images: Tensor) -> Tensor:
        first = functional.relu(self.first_norm(self.first(images)), inplace=True)
        both = functional.relu(first + self.second_norm(self.second(first)), inplace=True)
        pooled = functional.avg_pool2d(functional.max_pool2d(both, 2), 2)
        logits: Tensor = self.matrix(self.dropout(pooled.flatten(1)))
        return logits


def with_statistics(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics as after a training."""
    torch.manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low, high in (
                (layer.running_mean, -1, 1),
                (layer.running_var, 0.3, 3),
                (layer.weight.data, 0.5, 1.5),
                (layer.bias.data, -0.5, 0.5),
            ):
                assert values is not None
                nn.init.uniform_(values, low, high)
    return network.eval()


def small() -> nn.Module:
    return with_statistics(Small())


def pictures(side: int = 8, count: int = 4) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(1))
