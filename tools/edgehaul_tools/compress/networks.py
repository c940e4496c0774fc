"""The networks that int8 forms are made of: the given one, and those that training makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul_tools.compress.material import Material
from edgehaul_tools.compress.options import Options, pruned_name
from edgehaul_tools.quantize.contained import tried
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Inputs, Progress, Quantizer

WORK = "work"
"""Folder in the model directory for what is made on the way; runs in it are gone on with."""


@dataclass(frozen=True)
class Network:
    """One network that int8 forms are made of.

    Attributes:
        name: ``given``, or how it was changed; part of its variants' names.
        quantizer: Makes its int8 models.
        is_new: Whether it was trained just now: what was measured of that name is of another.
    """

    name: str
    quantizer: Quantizer
    is_new: bool = False

    def model_of(self, plan: Plan | None) -> onnx.ModelProto:
        """Return the form that a plan describes; the float network without one."""
        return self.quantizer.model if plan is None else self.quantizer.build(plan)


class Changed:
    """Makes other networks of a run directory, by training on.

    A network that an earlier, interrupted search has finished is taken as it is, if it began with
    the same weights and learnt in the same way. Any other one in its place is removed.

    Args:
        material: Holds the run directory.
        options: Which networks are asked for.
        work: Folder for their run directories.
        spec: Input and output of the model.
        inputs: The prepared calibration inputs.
        progress: Told what is done, in words.

    Attributes:
        was_cut_short: Whether the time was over before all networks were made.

    Raises:
        UsageError: Networks are asked for that cannot be.
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
        self._run, self._options, self._work = material.run, options, work
        self._spec, self._inputs, self._progress = spec, inputs, progress
        self.was_cut_short = False

    def networks(self, is_over: Callable[[], bool] = lambda: False) -> Iterator[Network]:
        """Yield the networks that were asked for, each as soon as it is trained.

        Args:
            is_over: Tells whether the time is over; no network is begun with then.
        """
        if self._run is None:
            return
        for made in self._makers(self._run):
            if is_over():
                self.was_cut_short = True
                return
            yield made()

    def _makers(self, run: Path) -> Iterator[Callable[[], Network]]:
        """Yield what makes each network, in an order in which each finds what it is made of."""
        for share in self._options.prune:
            name = pruned_name(share)
            yield partial(self._pruned, name, run, share)
            if self._options.qat_epochs:
                yield partial(self._rounded, f"{name}-qat", self._work / name)
        if self._options.qat_epochs:
            yield partial(self._rounded, "qat", run)

    def _pruned(self, name: str, run: Path, share: float) -> Network:
        # Imported here: torch and its pruning library take seconds, and few ask for them.
        from edgehaul_tools.prune.options import PruneOptions  # noqa: PLC0415 - as above
        from edgehaul_tools.prune.prune import is_pruned, prune_run  # noqa: PLC0415 - as above
        from edgehaul_tools.train.continued import open_run_recipe  # noqa: PLC0415 - as above

        out, how = self._work / name, PruneOptions(share=share)
        is_new = not is_pruned(open_run_recipe(run), out, how)
        if is_new:
            _clear(out)
            self._progress(f"removing {100 * share:g} % of the channels, and training on")
            prune_run(run, out, how, say=self._progress)
        return self._network(name, out, is_new=is_new)

    def _rounded(self, name: str, run: Path) -> Network:
        from edgehaul_tools.prune.teaching import taught_by, teaching_notes  # noqa: PLC0415 - as above
        from edgehaul_tools.train.continued import open_run_recipe  # noqa: PLC0415 - as above
        from edgehaul_tools.train.qat.training import (  # noqa: PLC0415 - as above
            Course,
            Int8,
            has_learnt,
            learn_rounded,
        )

        out, given = self._work / name, open_run_recipe(run)
        form = Int8(min(target.weight_bits for target in self._options.resolved_targets))
        course = Course(epochs=self._options.qat_epochs, notes=teaching_notes())
        is_new = not has_learnt(given, out, form, course)
        if is_new:
            _clear(out)
            self._progress("training on with int8 in the loop")
            learn_rounded(given, out, form, course, taught=taught_by(given))
        return self._network(name, out, is_new=is_new)

    def _network(self, name: str, run: Path, *, is_new: bool) -> Network:
        from edgehaul_tools.export.run import export_run  # noqa: PLC0415 - as above

        path = self._work / f"{name}.onnx"
        export_run(run, path)
        found = tried(path, self._options.limits)
        quantizer = Quantizer(found.model, self._spec, self._inputs, self._progress, path)
        return Network(name, quantizer, is_new)


def require_trainable(run: Path, options: Options) -> None:
    """Refuse networks that cannot be made of a run, before anything is trained.

    Raises:
        UsageError: Int8 cannot be learnt by this kind of run.
        DatasetError: What the run learnt from is not there any more.
        ModelError: The run cannot be read, or its channels cannot be removed.
    """
    if not (options.prune or options.qat_epochs):
        return
    from edgehaul_tools.train.continued import open_run_recipe  # noqa: PLC0415 - torch takes seconds

    given = open_run_recipe(run)
    if options.qat_epochs:
        from edgehaul_tools.train.qat.training import require_learnable  # noqa: PLC0415 - as above

        require_learnable(given)
    if options.prune:
        from edgehaul_tools.prune.networks import network_of  # noqa: PLC0415 - as above
        from edgehaul_tools.prune.removal import require_prunable  # noqa: PLC0415 - as above

        require_prunable(network_of(given))


def _clear(folder: Path) -> None:
    """Remove a training that is unfinished, or another one than is asked for."""
    if folder.exists():
        shutil.rmtree(folder)
