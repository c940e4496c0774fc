"""Which channels are removed, from which layers, and what is learnt from the dense network."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehaul.errors import ModelError
from edgehaul_tools.prune.choice import choose, multiple_for, rounded
from edgehaul_tools.prune.dependencies import ChannelGroup, Dependencies
from edgehaul_tools.prune.distillation import (
    DistilledTask,
    cell_difference,
    class_difference,
    value_difference,
)
from edgehaul_tools.prune.importance import importance_of
from edgehaul_tools.prune.removal import (
    Ranking,
    prune_network,
    reached_share,
    require_prunable,
)
from edgehaul_tools.train.architectures.autoencoder import ImageAutoencoder
from edgehaul_tools.train.architectures.blocks import FixedPool
from edgehaul_tools.train.architectures.builders import cbam_resnet18
from edgehaul_tools.train.architectures.convolutional import TemporalConvNet
from edgehaul_tools.train.architectures.detector import DetectorNetwork, DetectorShape
from edgehaul_tools.train.architectures.googlenet import GoogLeNet
from edgehaul_tools.train.architectures.mobilenet import MobileNetV2
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.architectures.resnet import ResNet
from edgehaul_tools.train.architectures.transformer import SequenceTransformer

pytest.importorskip("torch_pruning", reason="only who prunes needs it")

Build = Callable[[], nn.Module]


def detector() -> nn.Module:
    return DetectorNetwork(DetectorShape((16, 24, 32, 48), 3, blocks=2, two_ways=True))


def pooled() -> nn.Module:
    """Return a network that ends as AlexNet and VGG do, on cells that are not of one size."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        FixedPool(3),
        nn.Flatten(),
        nn.Linear(32 * 9, 32),
        nn.ReLU(),
        nn.Linear(32, 5),
    )


NETWORKS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "resnet": (lambda: ResNet(18, 5), (1, 3, 32, 32)),
    "mobilenet": (lambda: MobileNetV2(5), (1, 3, 32, 32)),
    "googlenet": (lambda: GoogLeNet(5), (1, 3, 32, 32)),
    "cbam": (lambda: cbam_resnet18(5), (1, 3, 32, 32)),
    "detector": (detector, (1, 3, 32, 48)),
    "fixed-pool": (pooled, (1, 3, 7, 7)),
    "tcn": (lambda: TemporalConvNet(3, 8, 32, 1, 0.0, 4), (1, 8, 3)),
    "autoencoder": (lambda: ImageAutoencoder(width=16, height=16, latent=16), (1, 3, 16, 16)),
}


_LARGE = {"cbam", "googlenet", "resnet"}


def built(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network whose norms have something to say, and the shape of its input."""
    build, shape = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)
    return network.eval(), shape


def without_inputs(
    network: nn.Module, groups: list[ChannelGroup], gone: dict[str, set[int]]
) -> None:
    """Let every layer that takes these channels see zeros in their place; nothing is removed."""
    for group in groups:
        for member in group.members:
            if member.side != "in" or getattr(member.layer, "groups", 1) > 1:
                continue
            assert member.of_group is not None
            pairs = zip(member.channels, member.of_group, strict=True)
            blind = [own for own, of_group in pairs if of_group in gone[group.name]]
            layer = network.get_submodule(member.name)
            assert isinstance(layer.weight, Tensor)
            layer.weight.data[:, blind] = 0


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in _LARGE else []) for n in NETWORKS],
)
def test_what_is_left_answers_as_if_the_others_were_never_looked_at(name: str) -> None:
    network, shape = built(name)
    dense = copy.deepcopy(network)
    changes = prune_network(network, shape, 0.4, Ranking("l1", "uniform", 8))
    groups = Dependencies(dense, shape).groups()
    kept = {change.name: change.after for change in changes}
    shrunk = [group for group in groups if kept[group.name] < group.channels]
    ranked = importance_of(shrunk, "l1", ())
    gone = {
        group.name: set(
            torch.argsort(ranked[group.name])[: group.channels - kept[group.name]].tolist()
        )
        for group in shrunk
    }
    without_inputs(dense, shrunk, gone)
    given = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found, wanted = network(given), dense(given)
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert len(gone) > 1
    assert sum(p.numel() for p in network.parameters()) < sum(p.numel() for p in dense.parameters())


def test_answers_and_what_a_network_counts_on_keep_their_channels() -> None:
    network, shape = built("autoencoder")
    changes = {c.name: c for c in prune_network(network, shape, 0.5, Ranking())}
    assert changes["expand"].reason == "the network counts on their number"
    assert changes["decoder.4"].reason == "what the network answers"
    assert (changes["encoder.1.0"].before, changes["encoder.1.0"].after) == (32, 16)
    assert "round to all" in changes["encoder.0.0"].reason or changes["encoder.0.0"].after == 8


@pytest.mark.parametrize("importance", ["l1", "l2", "bn-scale", "taylor"])
@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_every_ranking_reaches_the_share(importance: str, scope: str) -> None:
    network, shape = built("detector")
    logits, distances = network(torch.rand(shape))
    (logits.square().sum() + distances.sum()).backward()
    gradients = {p: p.grad for p in network.parameters() if p.grad is not None}
    ranking = Ranking(importance, scope, round_to=1)  # type: ignore[arg-type]  # from the names above
    changes = prune_network(network, shape, 0.5, ranking, batches=[gradients])
    assert reached_share(changes) == pytest.approx(0.5, abs=0.05)


def test_steps_count_from_the_dense_network() -> None:
    network, shape = built("resnet")
    first = prune_network(network, shape, 0.25, Ranking())
    dense = {change.name: change.before for change in first}
    second = prune_network(network, shape, 0.5, Ranking(), before=dense)
    assert reached_share(first) == pytest.approx(0.25, abs=0.02)
    assert reached_share(second) == pytest.approx(0.5, abs=0.02)
    assert {c.name: c.before for c in second} == dense


class Plain(nn.Module):
    """Two channels of which the first one does much, and the second one nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.last = nn.Conv2d(2, 1, 1, bias=False)
        self.first.weight.data[:] = torch.tensor([1.0, 8.0]).view(2, 1, 1, 1)
        self.last.weight.data[:] = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
        self.norm.weight.data[:] = torch.tensor([3.0, 0.5])

    def forward(self, images: Tensor) -> Tensor:
        drawn: Tensor = self.last(self.norm(self.first(images)))
        return drawn


def test_each_criterion_says_what_its_paper_says() -> None:
    network = Plain().eval()
    (group,) = (g for g in Dependencies(network, (1, 1, 2, 2)).groups() if not g.is_end)
    network(torch.ones(1, 1, 1, 1)).sum().backward()
    gradients = {p: p.grad for p in network.parameters() if p.grad is not None}

    def found(criterion: str) -> list[float]:
        return importance_of([group], criterion, [gradients])[group.name].tolist()  # type: ignore[arg-type]  # one of four

    # |first| + |last|: 1 + 2 and 8 + 0; squared: 1 + 4 and 64; each as a part of the mean.
    assert found("l1") == pytest.approx([3 / 5.5, 8 / 5.5])
    assert found("l2") == pytest.approx([5 / 34.5, 64 / 34.5])
    assert found("bn-scale") == [3.0, 0.5]
    # The second channel's weights are large, and nothing depends on them.
    first, second = found("taylor")
    assert first == pytest.approx(36.0, rel=1e-3)  # (2 * 3 * 1) squared, for either layer
    assert second == 0.0


def test_without_batch_norms_there_are_no_scales() -> None:
    network = nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 2, 1))
    with pytest.raises(ModelError, match="no batch norms"):
        prune_network(network, (1, 3, 4, 4), 0.5, Ranking("bn-scale"))


def test_a_layer_without_a_batch_norm_is_left_alone_by_its_scales() -> None:
    network, shape = built("autoencoder")
    changes = {c.name: c for c in prune_network(network, shape, 0.5, Ranking("bn-scale"))}
    assert changes["squeeze"].reason == "no batch norm says how important they are"
    assert changes["encoder.2.0"].after == 32


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (SequenceNetwork(SequenceShape(3, 16, 2)), "an LSTM"),
        (SequenceNetwork(SequenceShape(3, 16, 2, cell="gru")), "a GRU"),
        (SequenceTransformer(3, 8, 16, 1, 0.0, 2), "self-attention"),
    ],
)
def test_what_cannot_be_pruned_says_what_can_be_done(network: nn.Module, what: str) -> None:
    with pytest.raises(ModelError, match=f"has {what}.*narrower.*quantize"):
        require_prunable(network)


CHANNELS = st.integers(1, 600)


@given(CHANNELS, st.floats(0, 1), st.sampled_from([1, 4, 8, 16, 32]))
def test_what_is_kept_is_a_multiple_or_all_and_never_nothing(
    channels: int, share: float, round_to: int
) -> None:
    multiple = multiple_for(channels, round_to)
    kept = rounded(channels * share, channels, round_to)
    assert 1 <= kept <= channels
    assert kept == channels or kept % multiple == 0
    assert kept >= min(channels, channels / 8)
    assert multiple == round_to or 8 <= multiple < round_to
    # It is the nearest one, unless that is none, too few or more than there are.
    if channels / 8 <= channels * share and kept not in {channels, multiple}:
        assert abs(kept - channels * share) <= multiple


@pytest.mark.parametrize(("channels", "multiple"), [(8, 8), (16, 8), (24, 8), (32, 16), (48, 16)])
def test_narrow_layers_have_a_smaller_multiple(channels: int, multiple: int) -> None:
    assert multiple_for(channels, 16) == multiple


@given(st.lists(st.integers(2, 40), min_size=1, max_size=6), st.floats(0.05, 0.95), st.data())
def test_globally_the_least_important_channels_go(
    sizes: list[int], share: float, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(sum(sizes))))
    values = torch.split(torch.tensor(order, dtype=torch.float32), sizes)
    importance = {str(n): part for n, part in enumerate(values)}
    before = dict(zip(importance, sizes, strict=True))
    chosen = choose(importance, before, share, scope="global", round_to=1)
    threshold = sum(sizes) - round(sum(sizes) * (1 - share))
    for name, part in importance.items():
        wanted = int((part >= threshold).sum())
        kept = chosen[name].channels
        assert len(kept) == min(max(wanted, -(-len(part) // 8)), len(part))
        assert set(kept) == set(torch.argsort(part, descending=True)[: len(kept)].tolist())


class Line:
    """A task of one weight: y = w x on a single batch."""

    measure, higher_is_better = "error", False

    def __init__(self) -> None:
        self.network: nn.Module = nn.Linear(1, 1, bias=False)

    def order(self, epoch: int) -> NDArray[np.int64]:
        return np.arange(epoch)

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> Tensor:
        return torch.full((len(numbers), 1), float(epoch))

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        error: Tensor = (network(batch) - 3 * batch).square().mean()
        return error

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        return {"error": float(network(torch.ones(1, 1)).detach())}


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_teacher_has_its_share_of_the_loss(weight: float) -> None:
    teacher = nn.Linear(1, 1, bias=False)
    line = Line()
    for network, value in ((teacher, 5.0), (line.network, 1.0)):
        nn.init.constant_(next(network.parameters()), value)
    task = DistilledTask(line, teacher, weight, lambda a, b: (a - b).square().mean())
    loss = task.loss(task.network, task.batch(np.arange(1), 1))
    assert float(loss.detach()) == pytest.approx((1 - weight) * 4 + weight * 16)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert next(teacher.parameters()).grad is None
    assert not task.network._forward_hooks
    assert (task.measure, task.sample_name(7), list(task.order(2))) == ("error", "7", [0, 1])
    assert task.evaluate(task.network) == {"error": 1.0}


def test_nothing_is_to_be_learnt_from_a_teacher_that_one_equals() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, 3, generator=random)
    sides = torch.rand(4, 6, 4, generator=random) * 20
    assert float(cell_difference((logits, sides), (logits, sides))) == pytest.approx(0, abs=1e-6)
    assert float(class_difference(logits[0], logits[0])) == pytest.approx(0, abs=1e-6)
    assert float(value_difference(sides, sides)) == 0
    assert float(cell_difference((logits + 1, sides), (logits, sides))) > 0.01
    assert float(cell_difference((logits, sides + 1), (logits, sides))) > 0.01
    assert float(class_difference(logits[0].flip(0), logits[0])) > 0.01
    assert float(value_difference(sides + 1, sides)) == pytest.approx(
        1 / float(sides.var(correction=0))
    )
