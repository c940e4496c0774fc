"""The table of sub-commands; each one's module is imported when it is called, not before."""

from __future__ import annotations

import difflib
import importlib
from typing import NamedTuple

import click

from edgehaul import __version__


class Entry(NamedTuple):
    """Where a sub-command lives, and its line in the help."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "data": Entry("dataset.command", "data", "Make virtual datasets; look at and split real ones."),
    "train": Entry("train.command", "train", "Train a model by a recipe."),
    "export": Entry("export.command", "export", "Export a trained model to ONNX."),
    "quantize": Entry("quantize.command", "quantize", "Make an int8 model of any ONNX model."),
    "verify": Entry("verify.command", "verify", "Prove that int8 answers as fp32 does."),
    "pack": Entry("pack.command", "pack", "Pack a verified model as one bundle."),
    "flash": Entry("flash.command", "flash", "Install a bundle on a device."),
    "subscribe": Entry("subscribe.command", "subscribe", "Show results as they arrive on MQTT."),
    "collect": Entry("subscribe.command", "collect", "Store results durably and confirm them."),
    "demo": Entry("demo.command", "demo", "Run the whole chain on virtual devices."),
}
"""In the order of the flow, which is the order of the help."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Import and return one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {cmd_name!r}; {hint}", ctx)
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
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgehaul")
def edgehaul() -> None:
    """Take a model from a dataset to a proved result on a box at the edge.

    \b
    dataset > train > export > quantize > verify > pack > flash > agent > subscribe
    """  # noqa: D301 - \b keeps the line as it is in click's help
