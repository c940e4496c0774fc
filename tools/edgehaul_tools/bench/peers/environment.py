"""Virtual environments of the peers, and what runs in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgehaul_tools.bench.peers.table import CHILD, Peer

_INSTALLED = "installed.txt"
INSTALL_LIMIT_S, RUN_LIMIT_S = 1800, 900
_LONGEST = 160


class PeerFaultError(Exception):
    """A peer cannot be used; its text says why, for the table."""


def prepared(peer: Peer, folder: Path) -> Path:
    """Return the Python of a peer's environment; it is made and filled where it is not there.

    Args:
        peer: Which.
        folder: Holds all environments.

    Raises:
        PeerFaultError: It does not install.
    """
    if not peer.packages:
        return Path(sys.executable)
    home = folder / peer.name
    python, done = home / "bin" / "python", home / _INSTALLED
    wanted = "\n".join(peer.packages)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(home, with_pip=True)
    for package in peer.packages:
        command = [str(python), "-m", "pip", "install", "--quiet", package]
        run_program(command, limit_s=INSTALL_LIMIT_S, failing="does not install")
    done.write_text(wanted, encoding="utf-8")
    return python


def made_by(peer: Peer, python: Path, folder: Path) -> dict[str, Any]:
    """Let a peer make its forms of the model in ``folder``; see ``child.py``.

    Raises:
        PeerFaultError: Its process fails.
    """
    return _child(peer, python, folder, "made.json")


def measured_by(peer: Peer, python: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Let a peer's engine run the models in ``folder``; see ``child.py``.

    Raises:
        PeerFaultError: Its process fails.
    """
    return _child(peer, python, folder, "measured.json", str(rounds))


def _child(peer: Peer, python: Path, folder: Path, result: str, *more: str) -> dict[str, Any]:
    (folder / result).unlink(missing_ok=True)
    script = [str(CHILD), str(peer.path), str(folder), *more]
    run_program([str(python), "-I", *script], limit_s=RUN_LIMIT_S, failing="fails")
    content: dict[str, Any] = json.loads((folder / result).read_text(encoding="utf-8"))
    return content


def run_program(
    command: Sequence[str], *, limit_s: float, failing: str, is_own: bool = False
) -> None:
    """Run a program with a Python that we made, or one of ours.

    Args:
        command: Its words.
        limit_s: Most time that it may take.
        failing: What goes before the reason where it fails.
        is_own: Whether it belongs to this environment, and takes ``PYTHONPATH``.

    Raises:
        PeerFaultError: It fails, or is not finished in time.
    """
    # No peer is to report home what it does here, or to install more.
    surroundings = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "OPENVINO_TELEMETRY": "0",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": tempfile.gettempdir(),
    }
    if not is_own:
        surroundings.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(  # noqa: S603 - our own scripts and programs
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
            env=surroundings,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFaultError(f"{failing}: not finished in {limit_s:g} s") from error
    except OSError as error:
        raise PeerFaultError(f"{failing}: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise PeerFaultError(f"{failing}: {reason.strip()[:_LONGEST]}")
