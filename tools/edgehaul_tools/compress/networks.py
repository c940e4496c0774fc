"""The networks that int8 forms are made of: the given one, and those that training makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import UsageError
from edgehaul_tools.compress.material import Material
from edgehaul_tools.compress.options import Options
from edgehaul_tools.quantize.contained import tried
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Inputs, Progress, Quantizer
from edgehaul_tools.quantize.saturation import weight_bits_here

_FINISHED = "run.json"
WORK = "work"
"""Folder in the model directory for what is made on the way; runs in it are gone on with."""


@dataclass(frozen=True)
class Network:
    """One network that int8 forms are made of.

    Attributes:
        name: ``given``, or how it was changed; part of its variants' names.
        quantizer: Makes its int8 models.
    """

    name: str
    quantizer: Quantizer

    def model_of(self, plan: Plan | None) -> onnx.ModelProto:
        """Return the form that a plan describes; the float network without one."""
        return self.quantizer.model if plan is None else self.quantizer.build(plan)


class Changed:
    """Makes other networks of a run directory, by training on.

    A network that an earlier, interrupted search has finished is taken as it is.

    Args:
        material: Holds the run directory.
        options: Which networks are asked for.
        work: Folder for their run directories.
        spec: Input and output of the model.
        inputs: The prepared calibration inputs.
        progress: Told what is done, in words.

    Raises:
        UsageError: Networks are asked for, and an ONNX file was given.
    """

    def __init__(
        self,
        material: Material,
        options: Options,
        work: Path,
        spec: ModelSpec,
        inputs: Inputs,
        progress: Progress,
    ) -> None:
        if material.run is None and (options.prune or options.qat_epochs):
            raise UsageError(
                "--prune and --qat train, and an ONNX file cannot be trained",
                where=material.model,
                remedy="give the run directory that the model was exported from",
            )
        self._run, self._options, self._work = material.run, options, work
        self._spec, self._inputs, self._progress = spec, inputs, progress

    def networks(self) -> Iterator[Network]:
        """Yield the networks that were asked for, each as soon as it is trained."""
        if self._run is None:
            return
        for share in self._options.prune:
            name = f"pruned{round(100 * share)}"
            out = self._work / name
            if not (out / _FINISHED).is_file():
                self._prune(self._run, share, out)
            yield self._network(name, out)
            if self._options.qat_epochs:
                yield self._rounded(f"{name}-qat", out)
        if self._options.qat_epochs:
            yield self._rounded("qat", self._run)

    def _prune(self, run: Path, share: float, out: Path) -> None:
        # Imported here: torch and its pruning library take seconds, and few ask for them.
        from edgehaul_tools.prune.options import PruneOptions  # noqa: PLC0415 - as above
        from edgehaul_tools.prune.prune import prune_run  # noqa: PLC0415 - as above

        self._progress(f"removing {share:.0%} of the channels, and training on")
        prune_run(run, out, PruneOptions(share=share), say=self._progress)

    def _rounded(self, name: str, run: Path) -> Network:
        from edgehaul_tools.train.continued import open_run_recipe  # noqa: PLC0415 - as above
        from edgehaul_tools.train.qat.training import Course, Int8, learn_rounded  # noqa: PLC0415 - as above

        out = self._work / name
        if not (out / _FINISHED).is_file():
            self._progress("training on with int8 in the loop")
            course = Course(epochs=self._options.qat_epochs)
            learn_rounded(open_run_recipe(run), out, Int8(weight_bits_here()), course)
        return self._network(name, out)

    def _network(self, name: str, run: Path) -> Network:
        from edgehaul_tools.export.run import export_run  # noqa: PLC0415 - as above

        path = self._work / f"{name}.onnx"
        export_run(run, path)
        found = tried(path, self._options.limits)
        return Network(name, Quantizer(found.model, self._spec, self._inputs, self._progress, path))
