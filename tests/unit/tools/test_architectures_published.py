"""Networks have the keys, shapes and answers of torchvision's; published weights fit."""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgehaul.errors import ModelError
from edgehaul_tools.train.architectures import googlenet, inception
from edgehaul_tools.train.architectures.published import load_published
from edgehaul_tools.train.architectures.table import build_classifier

KNOWN = Path(__file__).parents[2] / "data" / "torchvision_keys" / "networks.json.gz"
NETWORKS: dict[str, Any] = json.loads(gzip.decompress(KNOWN.read_bytes()))["networks"]
QUICK = {"resnet18", "googlenet", "mobilenet_v2"}
TOLERANCE = 1e-5


def slow_unless_quick(name: str) -> object:
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


def drawn(name: str, shape: list[int]) -> NDArray[Any]:
    """Return a tensor by the rule in the data's README."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) > 1:
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return random.standard_normal(shape, dtype=np.float32) * scale
    if name.endswith(("running_var", "weight")):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return random.uniform(-0.1, 0.1, shape).astype(np.float32)


def drawn_state(name: str) -> dict[str, torch.Tensor]:
    state = NETWORKS[name]["state"]
    return {key: torch.from_numpy(drawn(key, shape)) for key, shape in state.items()}


def with_all_heads(name: str) -> nn.Module:
    """Return a network with auxiliary heads where torchvision's has them."""
    if name == "googlenet":
        return googlenet.GoogLeNet(auxiliary=True)
    if name == "inception_v3":
        return inception.InceptionV3(auxiliary=True)
    return build_classifier(name, 1000, width=299, height=299)


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        state = with_all_heads(name).state_dict()
    assert {key: list(v.shape) for key, v in state.items()} == NETWORKS[name]["state"]


@pytest.mark.parametrize("name", [slow_unless_quick(name) for name in NETWORKS])
def test_answers_are_torchvisions(name: str, tmp_path: Path) -> None:
    side = NETWORKS[name]["side_px"]
    torch.save(drawn_state(name), tmp_path / "weights.pth")
    network = build_classifier(name, 1000, width=side, height=side).eval()
    assert load_published(network, tmp_path / "weights.pth") == ()
    image = np.random.default_rng(zlib.crc32(b"input")).standard_normal(
        (1, 3, side, side), dtype=np.float32
    )
    with torch.no_grad():
        logits = network(torch.from_numpy(image))[0, :10].numpy()
    expected = np.array(NETWORKS[name]["logits"])
    assert np.abs(logits - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_answer_only_when_asked(name: str) -> None:
    network = with_all_heads(name).eval()
    images = torch.rand(1, 3, 299, 299)  # the head of Inception v3 sees no smaller ones
    with torch.no_grad():
        logits, *others = network.auxiliary_logits(images)  # type: ignore[operator]  # both have it
        torch.testing.assert_close(network(images), logits)
    assert [tuple(v.shape) for v in others] == [(1, 1000)] * len(others)
    assert others


def test_the_last_layer_is_left_out_for_other_classes(tmp_path: Path) -> None:
    given = drawn_state("mobilenet_v2")
    torch.save(given, tmp_path / "weights.pth")
    network = build_classifier("mobilenet_v2", 3, width=64, height=64)
    before = network.state_dict()["classifier.1.weight"].clone()
    left_out = load_published(network, tmp_path / "weights.pth")
    assert left_out == ("classifier.1.weight", "classifier.1.bias")
    torch.testing.assert_close(network.state_dict()["classifier.1.weight"], before)
    name = "features.18.0.weight"
    torch.testing.assert_close(network.state_dict()[name], given[name])


def test_old_files_without_counters_fit(tmp_path: Path) -> None:
    given = {k: v for k, v in drawn_state("mobilenet_v2").items() if "tracked" not in k}
    torch.save(given, tmp_path / "weights.pth")
    network = build_classifier("mobilenet_v2", 1000, width=64, height=64)
    assert load_published(network, tmp_path / "weights.pth") == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda state: state.pop("features.18.0.weight"), r"lacks 'features\.18\.0\.weight'"),
        (lambda state: state.update(more=torch.zeros(1)), r"has not, 'more'"),
        (lambda state: state.update({"features.18.0.weight": torch.zeros(1)}), "another shape"),
        (lambda state: state.update(name="text"), "something else than named tensors"),
    ],
)
def test_weights_of_another_network_are_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], object], fault: str
) -> None:
    state: dict[str, object] = dict(drawn_state("mobilenet_v2"))
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    network = build_classifier("mobilenet_v2", 1000, width=64, height=64)
    before = network.state_dict()["features.0.0.weight"].clone()
    with pytest.raises(ModelError, match=fault):
        load_published(network, tmp_path / "weights.pth")
    torch.testing.assert_close(network.state_dict()["features.0.0.weight"], before)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    network = build_classifier("mobilenet_v2", 10, width=64, height=64)
    for content in (b"", b"no weights", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="cannot be read"):
            load_published(network, path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_published(network, tmp_path / "absent.pth")
