"""The proof of a model directory: what ``verify.json`` keeps, and what pack insists on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgehaul.bundle.spec import ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import GateError, ModelError
from edgehaul_tools.evaluate.accuracy import DetectorAccuracy
from edgehaul_tools.quantize.answers import Agreement
from edgehaul_tools.quantize.directory import VERIFY_NAME, ModelDirectory
from edgehaul_tools.verify.gate import Gate
from edgehaul_tools.verify.measure import Measured
from edgehaul_tools.verify.torch_record import TorchParity

_BETTER_INT8 = (
    "calibrate on more inputs like these, search again with `edgehaul compress`, or keep fp32"
)


class VariantProof(msgspec.Struct, frozen=True):
    """What was measured of one model file.

    Attributes:
        name: Name of the variant.
        size_bytes: Of the file.
        latency_ms: Median time of one input on one thread, the variants taking turns.
        latency_spread_ms: Between which times eight of ten turns lie.
        measured: Its metric, what it loses against fp32, and how far it agrees with it.
        peak_rss_bytes: By how much it raises the peak memory of a process that runs it, where
            that was measured.
        accuracy: COCO's figures of a detector on labelled data, where that was given.
        failures: Why it does not pass; empty when it does.
        warnings: What else the user should know.
    """

    name: str
    size_bytes: int
    latency_ms: float
    latency_spread_ms: tuple[float, float]
    measured: Measured
    peak_rss_bytes: int | None = None
    accuracy: DetectorAccuracy | None = None
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def agreement(self) -> Agreement:
        """How far its answers agree with those of fp32."""
        return self.measured.agreement


class Verification(msgspec.Struct, frozen=True):
    """The proof of a model directory, as ``verify.json`` keeps it.

    Attributes:
        models: What was measured, by the SHA-256 of the model file.
        spec_sha256: Of the spec under which it was measured.
        gate: What had to be reached.
        frames: Inputs without labels that were compared; empty where those of ``data`` were.
        data: Labelled dataset that was measured on.
        runtime: Version of ONNX Runtime.
        torch: How far fp32 is from the torch network, where its run directory was given.
        notes: What the user should know of what was measured on.
    """

    models: dict[str, VariantProof]
    spec_sha256: str
    gate: Gate
    frames: str = ""
    data: str = ""
    runtime: str = ""
    torch: TorchParity | None = None
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Every reason why a variant does not pass."""
        parity = self.torch.failures if self.torch else ()
        return parity + tuple(f"{p.name}: {f}" for p in self.models.values() for f in p.failures)


def spec_digest(spec: ModelSpec) -> str:
    """Return the SHA-256 of a spec."""
    return hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()


def read_verification(folder: Path, directory: ModelDirectory) -> Verification:
    """Return the proof of a model directory if it is of these very files and passes.

    Raises:
        GateError: There is none, it is of other files or another spec, or it does not pass.
        ModelError: ``verify.json`` is unreadable.
    """
    path = folder / VERIFY_NAME
    if not path.is_file():
        raise GateError(
            "the model was not verified", where=folder, remedy=f"run: edgehaul verify {folder}"
        )
    try:
        proof = msgspec.json.decode(path.read_bytes(), type=Verification)
    except UNREADABLE_JSON as error:
        raise ModelError(
            f"unreadable: {error}", where=path, remedy=f"run: edgehaul verify {folder}"
        ) from error
    unproved = [v.name for v in directory.variants if v.sha256 not in proof.models]
    if unproved or proof.spec_sha256 != spec_digest(directory.spec):
        what = f"variant {unproved[0]}" if unproved else "the spec"
        raise GateError(
            f"{what} is not the one that was verified",
            where=folder,
            remedy=f"run: edgehaul verify {folder}",
        )
    raise_unless_passed(proof, folder)
    return proof


def raise_unless_passed(proof: Verification, folder: Path) -> None:
    """Raise where a variant does not pass its gate.

    Raises:
        GateError: Names the figures.
    """
    if proof.failures:
        raise GateError(
            "; ".join(proof.failures),
            where=folder,
            remedy=_BETTER_INT8
            if any(one.failures for one in proof.models.values())
            else "export the run again with `edgehaul export`",
        )
