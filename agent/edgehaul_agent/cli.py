"""``edgehaul-agent``: the command line of the device."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import cv2
import msgspec

import edgehaul
from edgehaul.clock import SystemClock
from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load
from edgehaul.errors import EXIT_INTERRUPTED, EXIT_OK, DeviceError, EdgeHaulError, UsageError
from edgehaul.reporting import report_error, system_error
from edgehaul_agent import cli_bench, cli_status
from edgehaul_agent.app import Agent, RunReport, raise_for_failures
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.checks import check_device
from edgehaul_agent.health.systemd import Systemd
from edgehaul_agent.proof import INSTALL_BUDGET_S
from edgehaul_agent.proof import prove as prove_plainly
from edgehaul_agent.reload import Reloader
from edgehaul_agent.signals import StopSignals
from edgehaul_agent.update.install import install_bundle
from edgehaul_agent.update.slots import Prove

NAME = "edgehaul-agent"
DRAIN_TIMEOUT_S = 30.0
MAX_WAIT_S = 86_400.0
PREVIEW_PORT = 8480
_MAX_PORT = 65_535
_LOG_LEVELS = ("debug", "info", "warning", "error")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edgehaul-agent`` and return its exit code.

    Args:
        arguments: The command line without the program's name; none takes the process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        options = _parser().parse_args(words)
        _set_up_logging(options.log_level)
        set_up_opencv()
        command: Callable[[argparse.Namespace], int] = options.command
        code = command(options)
        sys.stdout.flush()
    except EdgeHaulError as error:
        return report_error(error, program=NAME, as_json=as_json)
    except BrokenPipeError:
        # The reader has gone (`edgehaul-agent status | head -1`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        return report_error(system_error(error), program=NAME, as_json=as_json)
    except KeyboardInterrupt:
        print(f"{NAME}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _run(options: argparse.Namespace) -> int:
    path = Path(options.config)

    def read() -> DeviceConfig:
        config = load(path, DeviceConfig)
        if options.preview is None:
            return config
        preview = msgspec.structs.replace(config.preview, port=options.preview)
        return msgspec.structs.replace(config, preview=preview)

    return run_agent(
        Assembly(read(), path.resolve().parent),
        Reloader(read),
        drain_timeout_s=options.drain_timeout_s,
        as_json=options.json,
    )


def run_agent(
    assembly: Assembly, reloader: Reloader, *, drain_timeout_s: float, as_json: bool
) -> int:
    """Run an agent until its sources end or a signal comes; return the exit code.

    Results that nobody has taken are normal for an agent that was told to stop: the next start
    sends them. Where the sources have ended by themselves they are a part that was not done.

    Args:
        assembly: Builds what the configuration names.
        reloader: Reads the configuration again at SIGHUP.
        drain_timeout_s: How long to wait at the end until everything is delivered.
        as_json: Whether to print the report as JSON.

    Raises:
        EdgeHaulError: No stream could run, or only a part of them, or the spool failed.
    """
    stop = threading.Event()
    systemd = Systemd(os.environ)
    with StopSignals(stop, reloader.requested):
        agent = Agent(
            assembly, stop, drain_timeout_s=drain_timeout_s, reloader=reloader, systemd=systemd
        )
        try:
            code = _tell_run(agent.run(), as_json=as_json)
        except EdgeHaulError as error:
            if not agent.left_behind:
                raise
            code = report_error(error, program=NAME, as_json=as_json)
    if agent.left_behind:
        # A thread that hangs in a library would be torn from it on the way out, which may crash.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _tell_run(report: RunReport, *, as_json: bool) -> int:
    if as_json:
        _print_json(report)
    else:
        for name, stream in report.streams.items():
            print(
                f"{name}: {stream.processed} of {stream.frames} processed, "
                f"{stream.dropped} dropped, {stream.bad} bad; {stream.fps:.1f} a second, "
                f"latency {stream.latency_p50_ms:.1f} ms (99 %: {stream.latency_p99_ms:.1f} ms)"
            )
        spool = report.spool
        print(
            f"{spool.produced} messages produced, {spool.pending} not delivered yet, "
            f"{spool.declared_lost} declared lost"
        )
    raise_for_failures(report)
    return EXIT_OK if report.delivered or report.stopped else DeviceError.exit_code


def _check(options: argparse.Namespace) -> int:
    results = check_device(_assembly(options.config), SystemClock())
    if options.json:
        _print_json(results)
    else:
        for result in results:
            verdict = "FAIL" if result.exit_code else "ok"
            print(f"{verdict:4}  {result.kind} {result.name}: {result.detail}")
    return max((result.exit_code for result in results), default=EXIT_OK)


def _install(options: argparse.Namespace) -> int:
    root, device_type, prove = _installation(options)
    installed = install_bundle(
        Path(options.bundle),
        root,
        prove=prove,
        device_type=device_type,
        allow_downgrade=options.allow_downgrade,
    )
    report = cli_status.installed_report(installed)
    if options.json:
        _print_json(report)
    else:
        print(f"installed {report.name} {report.version}, variant {report.variant}")
        cli_status.tell_tuning(report)
    return EXIT_OK


def _installation(options: argparse.Namespace) -> tuple[Path, str, Prove]:
    """Return the device's root and type, and what proves a bundle as the agent will run it.

    Raises:
        UsageError: Neither root nor configuration is given, or both are.
    """
    if (options.root is None) == (options.config is None):
        raise UsageError("either --root or --config must be given", remedy=f"see {NAME} install -h")
    if options.root is not None:
        return Path(options.root), options.device_type, prove_plainly
    assembly = _assembly(options.config)
    return (
        assembly.root,
        options.device_type or assembly.config.device.type,
        assembly.prover(INSTALL_BUDGET_S),
    )


def _status(options: argparse.Namespace) -> int:
    if (options.root is None) == (options.config is None):
        raise UsageError("either --root or --config must be given", remedy=f"see {NAME} status -h")
    root = Path(options.root) if options.root else _assembly(options.config).root
    report = cli_status.look(root, SystemClock())
    if options.json:
        _print_json(report)
    else:
        cli_status.tell(report, root)
    return cli_status.exit_code(report)


def _assembly(config_path: str) -> Assembly:
    path = Path(config_path)
    return Assembly(load(path, DeviceConfig), path.resolve().parent)


def _set_up_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def set_up_opencv() -> None:
    """Keep OpenCV quiet, and to one thread for each of ours."""
    # What it warns of is told by our own errors, in one line.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    # Each stream has threads of its own; more of them inside a resize only fight for the cores.
    cv2.setNumThreads(1)


def _seconds(text: str) -> float:
    """Return a waiting time of the command line.

    Raises:
        ArgumentTypeError: It is no number, or one that nobody can wait for.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_WAIT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not in 0..{MAX_WAIT_S:g} seconds")
    return value


def _port(text: str) -> int:
    """Return a port of the command line.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port in 1..{_MAX_PORT}")
    return int(text)


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode())


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, remedy=f"see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=NAME, description="Run models on this device and report over MQTT.")
    parser.add_argument("--version", action="version", version=f"{NAME} {edgehaul.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(
        commands,
        "run",
        _run,
        "run until the sources end, or SIGTERM comes",
        more="The exit code is 5 where a stream failed, or where the sources have ended and "
        "results are not delivered; after SIGTERM those are kept for the next start, with 0. "
        "SIGHUP reads the configuration again.",
    )
    run.add_argument("--config", required=True, metavar="FILE", help="the device's configuration")
    run.add_argument(
        "--drain-timeout-s",
        type=_seconds,
        default=DRAIN_TIMEOUT_S,
        metavar="S",
        help="how long to wait at the end until everything is delivered (default %(default)s)",
    )

    run.add_argument(
        "--preview",
        type=_port,
        nargs="?",
        const=PREVIEW_PORT,
        metavar="PORT",
        help="show the camera streams with what is found in them to a browser on this machine "
        "(port %(const)s by default)",
    )

    check = _command(commands, "check", _check, "try models, sources and broker, and leave")
    check.add_argument("--config", required=True, metavar="FILE", help="the device's configuration")

    install = _command(commands, "install", _install, "install a bundle and prove it on this box")
    install.add_argument("bundle", metavar="BUNDLE", help="the bundle file")
    install.add_argument("--root", metavar="DIR", help="the device's root folder")
    install.add_argument(
        "--config",
        metavar="FILE",
        help="the device's configuration: its root and type, and what will run the model",
    )
    install.add_argument(
        "--device-type", default="", metavar="TYPE", help="refuse bundles for other types"
    )
    install.add_argument(
        "--allow-downgrade", action="store_true", help="let an older version replace a newer one"
    )

    _add_measures(commands)
    return parser


def _add_measures(commands: argparse._SubParsersAction[_Parser]) -> None:
    """Add what only looks: at the agent's state, and at what it costs."""
    status = _command(
        commands, "status", _status, "tell which models are installed, and how the agent is doing"
    )
    status.add_argument("--root", metavar="DIR", help="the device's root folder")
    status.add_argument("--config", metavar="FILE", help="the device's configuration")

    cli_bench.add_arguments(
        _command(commands, "bench", cli_bench.run_bench, cli_bench.HELP, more=cli_bench.MORE)
    )


def _command(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    function: Callable[[argparse.Namespace], int],
    text: str,
    *,
    more: str = "",
) -> _Parser:
    description = f"{text[0].upper()}{text[1:]}. {more}".rstrip()
    command = commands.add_parser(name, help=text, description=description)
    command.set_defaults(command=function)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument(
        "--log-level", choices=_LOG_LEVELS, default="warning", help="default: %(default)s"
    )
    return command
