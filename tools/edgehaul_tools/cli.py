"""The command ``edgehaul``: runs a sub-command and turns errors into lines and exit codes.

Nothing heavy is imported here: ``edgehaul --help`` answers without torch, onnx or rich.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from edgehaul.errors import EXIT_INTERRUPTED, EXIT_OK, EdgeHaulError, UsageError
from edgehaul.reporting import report_error, system_error

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "edgehaul"

_SPIN_COUNT = "10000"
"""How long the threads of torch spin before they sleep, when they wait for each other. By
default they hardly sleep at all, and where anything else runs on the machine they steal the
time of those that they wait for: a training on two busy cores took seven times as long."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: The arguments after the program's name; none takes the process's own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    try:
        code = _run(given)
        sys.stdout.flush()
    except EdgeHaulError as error:
        return report_error(error, program=NAME, as_json=as_json)
    except BrokenPipeError:
        # The reader has gone (`edgehaul subscribe | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except ModuleNotFoundError as error:
        return report_error(_missing(error), program=NAME, as_json=as_json)
    except OSError as error:
        return report_error(system_error(error), program=NAME, as_json=as_json)
    return code


def _run(arguments: list[str]) -> int:
    # Imported here so that a missing click is reported in one line, as all others are.
    import click  # noqa: PLC0415

    from edgehaul_tools.commands import edgehaul  # noqa: PLC0415 - it needs click

    try:
        result = edgehaul.main(args=arguments, prog_name=NAME, standalone_mode=False)
    except click.exceptions.Abort:
        print(f"{NAME}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return UsageError.exit_code
    except click.UsageError as error:
        help_command = error.ctx.command_path if error.ctx else NAME
        message = error.format_message().replace("\n", " ")
        raise UsageError(message.rstrip("."), remedy=f"see `{help_command} --help`") from error
    except click.ClickException as error:
        raise EdgeHaulError(error.format_message().replace("\n", " ")) from error
    return result if isinstance(result, int) else EXIT_OK


def _missing(error: ModuleNotFoundError) -> EdgeHaulError:
    """Return what to tell where a package is not installed.

    Raises:
        ModuleNotFoundError: The missing module is EdgeHaul's own, which is a defect.
    """
    package = (error.name or "").partition(".")[0]
    if package.startswith("edgehaul") or not package:
        raise error
    extra = {"click": "subscriber", "rich": "subscriber", "amqtt": "demo"}.get(package, "tools")
    return EdgeHaulError(
        f"this command needs the package {package}, which is not installed",
        remedy=f"run: pip install 'edgehaul[{extra}]'",
    )


if __name__ == "__main__":
    sys.exit(main())
