"""Verification against the torch network that a model was exported from."""

from edgehaul_tools.verify.torch_record import PARITY_LIMIT, TorchParity
from edgehaul_tools.verify.verify import Gate, Verification


def verification(difference: float) -> Verification:
    parity = TorchParity(run="parcels", inputs=3, difference={"boxes": 1e-7, "scores": difference})
    return Verification(models={}, spec_sha256="", gate=Gate(), torch=parity)


def test_what_rounding_explains_passes() -> None:
    assert verification(PARITY_LIMIT / 10).failures == ()


def test_an_output_that_moved_fails_by_name() -> None:
    (failure,) = verification(PARITY_LIMIT * 2).failures
    assert "'scores' differs from torch" in failure
    assert verification(float("nan")).failures
