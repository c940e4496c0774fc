"""The table of sub-commands; each one's module is imported when it is called, not before."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from edgehaul import __version__


class Entry(NamedTuple):
    """Where a sub-command lives, and its line in the help."""

    module: str
    attribute: str
    summary: str


class Group(NamedTuple):
    """Sub-commands under one name, and its line in the help."""

    commands: Mapping[str, Entry]
    summary: str


DATA_COMMANDS = {
    "import": Entry("dataset.import_command", "import_command", "Make a dataset of any form ours."),
    "export": Entry("dataset.export_command", "export_command", "Write a dataset in another form."),
    "stats": Entry("dataset.command", "stats", "Say what is in a dataset."),
    "check": Entry("dataset.check_command", "check", "Find what is wrong with a dataset."),
    "split": Entry("dataset.command", "split_command", "Divide a dataset so that nothing leaks."),
    "features": Entry("dataset.features_command", "features", "Rank the features of traces."),
    "label": Entry("label.command", "label", "Mark pictures with a model, for people to correct."),
    "virtual": Entry("dataset.command", "virtual", "Make datasets with the virtual devices."),
}
COMMANDS: dict[str, Entry | Group] = {
    "data": Group(DATA_COMMANDS, "Import, check, split and label datasets, or make virtual ones."),
    "train": Entry("train.command", "train", "Train a model by a recipe."),
    "tune": Entry("train.tune_command", "tune", "Search for better values of a recipe."),
    "qat": Entry("quantize.qat_command", "qat", "Train on with int8 in the loop."),
    "synthesize": Entry("train.synthesize_command", "synthesize", "Make pictures of rare classes."),
    "prune": Entry("prune.command", "prune", "Remove channels from a trained model."),
    "export": Entry("export.command", "export", "Export a trained model to ONNX."),
    "quantize": Entry("quantize.command", "quantize", "Make an int8 model of any ONNX model."),
    "compress": Entry("compress.command", "compress", "Find the fastest form that is as good."),
    "verify": Entry("verify.command", "verify", "Prove that int8 answers as fp32 does."),
    "evaluate": Entry("evaluate.command", "evaluate", "Measure models on labelled data."),
    "pack": Entry("pack.command", "pack", "Pack a verified model as one bundle."),
    "flash": Entry("flash.command", "flash", "Install a bundle on a device."),
    "subscribe": Entry("subscribe.command", "subscribe", "Show results as they arrive on MQTT."),
    "collect": Entry("subscribe.command", "collect", "Store results durably and confirm them."),
    "bench": Entry("bench.command", "bench", "Measure models, trainings and agents here."),
    "demo": Entry("demo.command", "demo", "Run the whole chain on virtual devices."),
}
"""In the order of the flow, which is the order of the help."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Args:
        table: Its commands.
        **attributes: As click's.
    """

    def __init__(
        self,
        *,
        table: Mapping[str, Entry | Group],
        **attributes: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(**attributes)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import and return one command."""
        entry = self._table.get(cmd_name)
        if entry is None:
            near = difflib.get_close_matches(cmd_name, self._table, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(self._table)}"
            raise click.UsageError(f"there is no command {cmd_name!r}; {hint}", ctx)
        if isinstance(entry, Group):
            return LazyGroup(table=entry.commands, name=cmd_name, help=entry.summary)
        module = importlib.import_module(f"edgehaul_tools.{entry.module}")
        command = getattr(module, entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is no command")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands from the table, so that no module is imported for the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self._table.items()])


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="edgehaul")
def edgehaul() -> None:
    """Take a model from a dataset to a proved result on a box at the edge.

    \b
    dataset > train > export > compress > pack > flash > agent > subscribe
    """  # noqa: D301 - \b keeps the line as it is in click's help
