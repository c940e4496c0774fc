"""Batch norms whose statistics are those of the whole batch, also where processes share it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverProcesses(Function):
    """The sum of a tensor over all processes; the gradient's sum comes back the same way."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        del ctx
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        del ctx
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """A batch norm over the parts of a batch that all processes hold (Peng et al. 2018).

    torch's own ``SyncBatchNorm`` does it on graphics processors alone.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Return the normalised ``values``, (B, C) or (B, C, ...)."""
        if not self.training:
            return super().forward(values)
        wide = values.float()
        axes = [0, *range(2, values.ndim)]
        shape = [1, -1, *[1] * (values.ndim - 2)]
        local = torch.cat((wide.sum(axes), wide.new_tensor([values.numel() / values.shape[1]])))
        total = _total(local)
        count = float(total[-1].detach())
        mean = total[:-1] / count
        centered = wide - mean.view(shape)
        variance = _total(centered.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        result = centered * scale.view(shape)
        if self.bias is not None:
            result = result + self.bias.view(shape)
        return result.to(values.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch's own batch norm does."""
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        self.running_mean.lerp_(mean, share or 0.0)
        self.running_var.lerp_(variance, share or 0.0)

    def _check_input_dim(self, values: Tensor) -> None:
        del values  # any number of axes is right


def _total(value: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(value)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return total


def share_batch_norms(network: nn.Module) -> None:
    """Replace every batch norm below ``network`` by one over all processes, weights and all."""
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, SharedBatchNorm):
            setattr(network, name, _shared(child))
        else:
            share_batch_norms(child)


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    shared = SharedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    # The very same tensors: whoever holds them sees them change.
    shared.weight, shared.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(shared, name, buffer)
    return shared.train(norm.training)
