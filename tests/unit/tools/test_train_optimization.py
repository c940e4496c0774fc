"""Single steps of a training: rates, decay, clipping, averages, sparsity."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul_tools.train.loop.batch_norm import SharedBatchNorm, share_batch_norms
from edgehaul_tools.train.loop.divergence import cause_of
from edgehaul_tools.train.loop.optimization import DivergedError, Optimization

SECTION = OptimizerSection(warmup=0.2, learning_rate=0.1, weight_decay=0.0, gradient_norm=0.0)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 1)
        )
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs miss it


def pictures() -> Tensor:
    return torch.rand((4, 3, 4, 4), generator=torch.Generator().manual_seed(1))


def section(**values: object) -> OptimizerSection:
    return msgspec.structs.replace(SECTION, **values)


def test_the_rate_rises_then_falls_to_almost_nothing() -> None:
    trained, rates = network(), []
    optimization = Optimization(trained, SECTION, 20)
    for _ in range(20):
        optimization.step(trained(pictures()).square().mean())
        rates.append(optimization.learning_rate)
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 0.1 * 0.02


@pytest.mark.parametrize("algorithm", ["adamw", "sgd"])
def test_the_steps_are_those_of_torch_one_by_one(algorithm: str) -> None:
    ours, plain = network(), network()
    chosen = section(algorithm=algorithm, warmup=0.0, learning_rate=0.01)
    optimization = Optimization(ours, chosen, 1_000_000)
    if algorithm == "adamw":
        other: torch.optim.Optimizer = torch.optim.AdamW(
            plain.parameters(), lr=0.01, weight_decay=0.0, foreach=False
        )
    else:
        other = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    for _ in range(5):
        optimization.step(ours(pictures()).square().mean())
        other.zero_grad()
        loss = plain(pictures()).square().mean()
        loss.backward()
        other.step()
    for (name, one), two in zip(ours.named_parameters(), plain.parameters(), strict=True):
        if name != "0.bias":  # before a batch norm its gradient is rounding alone
            assert torch.allclose(one, two, atol=1e-6), name


def test_only_matrices_decay() -> None:
    trained = network()
    before = copy.deepcopy(trained.state_dict())
    optimization = Optimization(trained, section(weight_decay=0.5, algorithm="sgd"), 10)
    optimization.step(trained(pictures()).sum() * 0)
    after = trained.state_dict()
    assert float(after["3.weight"].norm()) < float(before["3.weight"].norm())
    assert torch.equal(after["1.weight"], before["1.weight"])


def test_a_gradient_is_clipped_to_its_norm() -> None:
    trained = network()
    before = copy.deepcopy(trained.state_dict())
    chosen = section(algorithm="sgd", momentum=0.0, gradient_norm=1e-3, warmup=0.0)
    Optimization(trained, chosen, 10).step(1e6 * trained(pictures()).square().mean())
    moved = [
        (value - before[name]).square().sum()
        for name, value in trained.state_dict().items()
        if name in dict(trained.named_parameters())
    ]
    assert math.sqrt(float(sum(moved))) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_averages_follow_the_weights_and_zero_keeps_the_last() -> None:
    for decay in (0.0, 0.9):
        trained = network()
        optimization = Optimization(trained, section(average_decay=decay), 10)
        for _ in range(5):
            optimization.step(trained(pictures()).square().mean())
        kept, last = optimization.result.state_dict(), trained.state_dict()
        assert torch.equal(kept["3.weight"], last["3.weight"]) == (decay == 0.0)
        assert torch.equal(kept["1.running_mean"], last["1.running_mean"]) == (decay == 0.0)
        assert int(kept["1.num_batches_tracked"]) == 5
        assert not optimization.result.training


def test_the_l1_norm_drives_scales_of_batch_norms_to_zero() -> None:
    sizes = []
    for weight in (0.0, 1.0):
        trained = network()
        chosen = section(algorithm="sgd", batch_norm_l1=weight, learning_rate=0.01)
        optimization = Optimization(trained, chosen, 50)
        for _ in range(50):
            optimization.step(trained(pictures()).square().mean())
        sizes.append(float(trained.state_dict()["1.weight"].abs().sum()))
    assert sizes[1] < 0.8 * sizes[0]


def test_a_diverged_step_leaves_the_weights_as_they_were() -> None:
    trained = network()
    optimization = Optimization(trained, SECTION, 10)
    before = copy.deepcopy(dict(trained.named_parameters()))
    with pytest.raises(DivergedError, match="loss became -inf at step 1 of 10"):
        optimization.step(trained(pictures()).sum() * torch.inf)
    with pytest.raises(DivergedError, match="gradient of the loss"):
        optimization.step((trained(pictures()) * 0).sqrt().sum())
    for name, weight in trained.named_parameters():
        assert torch.equal(weight, before[name])


def test_the_cause_of_a_divergence() -> None:
    trained = network()
    batch = {"pictures": (pictures(),)}
    assert "gradient of" in cause_after_a_step(trained, batch)
    assert "batch itself" in cause_of(trained, [pictures() * torch.nan], lambda: torch.zeros(()))
    with torch.no_grad():
        trained[0].weight *= 1e20
    assert "layer 0 grew to" in cause_of(trained, batch, lambda: trained(pictures()).sum())
    with torch.no_grad():
        trained[3].weight[0, 0] = torch.inf
    assert "the weights 3.weight" in cause_of(trained, batch, lambda: trained(pictures()).sum())


def cause_after_a_step(trained: nn.Module, batch: object) -> str:
    trained(pictures()).sum().backward()
    return cause_of(trained, batch, lambda: trained(pictures()).sum())


@contextmanager
def alone_in_a_group(folder: Path) -> Iterator[None]:
    """Let this process be the only one of a group."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def test_a_shared_batch_norm_alone_is_torchs_own(tmp_path: Path) -> None:
    plain, shared = network(), network()
    share_batch_norms(shared)
    assert isinstance(shared[1], SharedBatchNorm)
    assert shared.state_dict().keys() == plain.state_dict().keys()
    with alone_in_a_group(tmp_path):
        for _ in range(2):
            one, two = (v(pictures()).square().mean() for v in (plain, shared))
            assert torch.allclose(one, two, rtol=1e-5)
            one.backward()
            two.backward()
    for (name, first), second in zip(plain.named_parameters(), shared.parameters(), strict=True):
        assert first.grad is not None
        assert second.grad is not None
        assert torch.allclose(first.grad, second.grad, atol=1e-5), name
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, shared.state_dict()[name], atol=1e-6), name
    assert torch.allclose(plain.eval()(pictures()), shared.eval()(pictures()), atol=1e-5)
