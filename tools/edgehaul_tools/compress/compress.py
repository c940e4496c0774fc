"""From any model to the fastest form of it that is as good, or to the advice to keep fp32."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import onnxruntime  # type: ignore[import-untyped]  # no stubs

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import DataError
from edgehaul_tools.compress.beginning import place_for, require_possible
from edgehaul_tools.compress.candidate import GIVEN, Candidate, Key, Wanted
from edgehaul_tools.compress.choice import Choice, judged, variants_for
from edgehaul_tools.compress.explorer import Budget, Explorer
from edgehaul_tools.compress.fingerprint import fingerprint
from edgehaul_tools.compress.journal import Journal
from edgehaul_tools.compress.material import Material
from edgehaul_tools.compress.measuring import Measuring, Reference, Told
from edgehaul_tools.compress.networks import WORK, Changed, Network
from edgehaul_tools.compress.options import Options
from edgehaul_tools.compress.result import RESULT_NAME, Compression, Sensitivity
from edgehaul_tools.compress.verdict import verdict_of
from edgehaul_tools.compress.writing import refuse_model_in, variant_name, write_directory
from edgehaul_tools.evaluate.canvases import kept_inputs
from edgehaul_tools.export.machine import machine
from edgehaul_tools.quantize.directory import (
    ModelDirectory,
    sha256_of,
    write_json,
)
from edgehaul_tools.quantize.family import family_of
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.quantize.model_name import name_of
from edgehaul_tools.quantize.opening import open_unknown
from edgehaul_tools.quantize.quantize import input_warnings
from edgehaul_tools.quantize.quantizer import Inputs, Progress, Quantizer
from edgehaul_tools.quantize.routes import first_plans
from edgehaul_tools.quantize.target import target_here
from edgehaul_tools.verify.measure import Labelled, Yardstick
from edgehaul_tools.verify.proof import raise_unless_passed
from edgehaul_tools.verify.verify import Recorded, verify_directory

_RETRIES = 4
"""So many choices may fail on the data of the proof before fp32 is kept."""


def compress(
    material: Material,
    out: Path,
    options: Options,
    progress: Progress = lambda _line: None,
    told: Told = lambda _one: None,
) -> Compression:
    """Search for the fastest form of a model that is as good, and write its model directory.

    Every candidate is measured on the same data against the model that was given. What is chosen
    is proved on the data of the proof, and is dropped if it fails there. Where nothing is left,
    the directory holds fp32 alone and the result says why.

    Args:
        material: The model and its data.
        out: The model directory to write.
        options: What must be reached, and how long it may take.
        progress: Told what is done, in words.
        told: Called with each candidate as soon as it is measured.

    Raises:
        ModelError: The model cannot be used, or ``out`` cannot be written.
        SpecMismatchError: The model does not fit its spec.
        DataError: There is nothing to measure on.
        UsageError: Another or an unfinished search is in ``out``, or networks are asked for that
            cannot be trained.
    """
    require_possible(material.run or material.model, out, options)
    refuse_model_in(out, material.model)
    with place_for(out):
        return _Compression(material, out, options, progress, told).run()


class _Compression:
    """One search, from the model to the directory."""

    def __init__(
        self, material: Material, out: Path, options: Options, progress: Progress, told: Told
    ) -> None:
        self._started_s = time.monotonic()
        self._budget = Budget(options.budget_s)
        self._material, self._out, self._options = material, out, options
        self._progress, self._told = progress, told
        self._targets = options.resolved_targets
        self._warnings = list(material.warnings)
        self._spec, self._spec_source, self._given = self._open()
        self._wanted = Wanted(
            max_drop=options.max_drop,
            min_agreement=options.agreement_for(self._spec),
            min_speedup=options.min_speedup or 1.0,
            sure=options.sure,
            timed=target_here() in self._targets,
        )
        given = self._given
        inputs = self._compared()
        yardstick = Yardstick(
            self._spec,
            given.quantizer.fp32,
            labelled=self._labelled(),
            inputs=inputs,
            where=material.model,
        )
        size_bytes = given.quantizer.model.ByteSize()
        tensor = given.quantizer.probes[0].tensor
        self._reference = Reference(
            given.quantizer.fp32, size_bytes, tensor, yardstick, self._wanted.gate
        )
        self._changed = Changed(material, options, out / WORK, self._spec, self._inputs, progress)
        search = fingerprint(material, self._spec, options, out)
        self._journal = Journal(out, search, resume=options.resume)
        self._was_cut_short = False
        self._refused: dict[Key, str] = {}
        self._notes: dict[str, None] = {}

    def run(self) -> Compression:
        networks, candidates = self._explored()
        chosen = self._proved(networks, candidates)
        result = Compression(
            model=self._name,
            family=family_of(self._given.quantizer.model, self._spec),
            targets=tuple(target.name for target in self._targets),
            here=target_here().name,
            machine=machine(),
            runtime=onnxruntime.__version__,
            wanted=self._wanted,
            metric=candidates[0].metric,
            fp32_value=candidates[0].value,
            fp32_bytes=candidates[0].size_bytes,
            judged=judged(candidates, chosen, self._refused, self._wanted),
            sensitivity=self._sensitivity(candidates),
            verdict=verdict_of(candidates, chosen, self._wanted, target_here().name),
            finished=not self._was_cut_short,
            elapsed_s=round(time.monotonic() - self._started_s, 1),
            warnings=(*self._warnings, *self._notes),
        )
        write_json(self._out / RESULT_NAME, result)
        self._journal.close()
        return result

    @property
    def _repaired_for(self) -> Wanted:
        """What forms are repaired for: where some are for other processors, time is no matter."""
        only_here = self._targets == (target_here(),)
        return msgspec.structs.replace(self._wanted, timed=only_here)

    @property
    def _name(self) -> str:
        source = self._material.run or self._material.model
        return self._options.name or name_of(source)

    def _open(self) -> tuple[ModelSpec, str, Network]:
        """Return the spec, where it is from, and the network that was given."""
        path, options = self._material.model, self._options
        opened = open_unknown(path, options.spec_file, options.labels, options.limits)
        spec = opened.spec
        self._progress(f"spec from {opened.spec_source}")
        for note in opened.notes:
            self._progress(f"note: {note}")
        if self._material.calibration is None:
            raise DataError(
                "there is nothing to measure on",
                where=path,
                remedy="give a folder of images or a video with --calib, or labelled data with "
                "--data",
            )
        inputs = open_inputs(self._material.calibration, spec, options.limit)
        self._warnings += input_warnings(inputs, self._material.calibration)
        self._inputs = kept_inputs(inputs, spec)
        quantizer = Quantizer(opened.model, spec, self._inputs, self._progress, path)
        return spec, opened.spec_source, Network(GIVEN, quantizer)

    def _compared(self) -> Inputs | None:
        """Return inputs without labels to compare on; none where labelled ones are enough."""
        if self._material.labelled is not None:
            return None
        frames = self._material.frames
        if frames is None:
            return self._inputs
        return kept_inputs(open_inputs(frames, self._spec, self._options.limit), self._spec)

    def _labelled(self) -> Labelled | None:
        if self._material.labelled is None:
            return None
        found = self._material.labelled.read(self._spec)
        return found.recordings if isinstance(found, Recorded) else found

    def _explored(self) -> tuple[dict[str, Network], list[Candidate]]:
        networks = {GIVEN: self._given}
        candidates = self._explore(self._given)
        for network in self._changed.networks(lambda: self._budget.is_spent):
            networks[network.name] = network
            if network.is_new:
                self._journal.forget(network.name)
            candidates += self._explore(network)
        self._was_cut_short |= self._changed.was_cut_short
        return networks, candidates

    def _explore(self, network: Network) -> list[Candidate]:
        quantizer = network.quantizer
        measure = Measuring(network.name, quantizer, self._reference, self._journal, self._told)
        as_float = measure(None)
        explorer = Explorer(quantizer, measure, self._repaired_for, self._budget, self._progress)
        explorer.run(first_plans(quantizer.model, self._spec, self._targets, wide=True))
        self._was_cut_short |= explorer.was_cut_short
        return [as_float, *explorer.tried]

    def _proved(
        self, networks: dict[str, Network], candidates: Sequence[Candidate]
    ) -> tuple[Choice, ...]:
        """Write what is chosen; drop what fails in the proof, and choose again."""
        for _ in range(_RETRIES):
            left = [one for one in candidates if one.key not in self._refused]
            chosen = variants_for(left, self._targets, self._wanted)
            self._write(networks, chosen)
            failures = self._failures(chosen)
            if not failures:
                return chosen
            self._refused |= failures
        self._write(networks, ())
        self._failures(())
        return ()

    def _write(self, networks: dict[str, Network], chosen: Sequence[Choice]) -> None:
        directory = ModelDirectory(
            name=self._name,
            spec=self._spec,
            spec_source=self._spec_source,
            source_sha256=sha256_of(self._material.model),
            variants=(),
            calibration=str(self._material.calibration),
        )
        model = self._given.quantizer.model
        write_directory(
            self._out,
            directory,
            model,
            [choice.candidate for choice in chosen],
            lambda one: networks[one.network].model_of(one.plan),
        )

    def _failures(self, chosen: Sequence[Choice]) -> dict[Key, str]:
        """Prove the directory and return what fails there, and how.

        Raises:
            GateError: fp32 itself does not pass: then nothing is proved.
        """
        self._progress("proving the choice")
        source = self._material.proof
        proof = verify_directory(
            self._out,
            frames=self._frames() if source is None else None,
            data=None if source is None else source.read(self._spec),
            run=self._material.run,
            gate=self._wanted.gate,
            limit=self._options.limit,
            progress=self._progress,
        )
        self._notes |= dict.fromkeys(proof.notes)
        choices = {variant_name(choice.candidate): choice for choice in chosen}
        fp32, *variants = proof.models.values()
        if fp32.failures or (proof.torch and proof.torch.failures):
            raise_unless_passed(proof, self._out)
        failures = {}
        for variant in variants:
            choice = choices[variant.name]
            ratio = variant.latency_ms / fp32.latency_ms
            reasons = [*variant.failures, *self._slowness(choice, ratio)]
            if reasons:
                failures[choice.candidate.key] = "; ".join(reasons)
        return failures

    def _slowness(self, choice: Choice, latency_ratio: float) -> list[str]:
        """Return why a choice for this machine's kind of processor is too slow in the proof."""
        if target_here().name not in choice.targets:
            return []
        again = msgspec.structs.replace(choice.candidate, latency_ratio=latency_ratio)
        reason = self._wanted.slowness_of(again)
        return [reason] if reason else []

    def _frames(self) -> Path | None:
        return self._material.frames or self._material.calibration

    def _sensitivity(self, candidates: Sequence[Candidate]) -> tuple[Sensitivity, ...]:
        """Return how much each layer suffers, in the fastest all-int8 form."""
        plans = [one.plan for one in candidates if one.network == GIVEN and one.plan is not None]
        static = next((plan for plan in plans if plan.method is not None), None)
        if static is None or self._budget.is_spent:
            return ()
        assert static.method is not None  # noqa: S101 - it is a static one
        noise = self._given.quantizer.noise(static.method, static.form.weight_bits)
        sqnr = self._given.quantizer.sqnr_of(static)
        order = sorted(noise, key=noise.__getitem__, reverse=True)
        return tuple(Sensitivity(layer, noise[layer], sqnr.get(layer)) for layer in order)
