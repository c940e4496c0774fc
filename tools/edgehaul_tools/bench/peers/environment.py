"""Virtual environments of the peers, and what runs in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
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
        _run(command, INSTALL_LIMIT_S, "does not install")
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
    _run([str(python), "-I", *script], RUN_LIMIT_S, "fails")
    content: dict[str, Any] = json.loads((folder / result).read_text(encoding="utf-8"))
    return content


def _run(command: list[str], limit_s: float, failing: str) -> None:
    # Two threads each, as ours; no peer is to report home what it does here.
    surroundings = {**os.environ, "DO_NOT_TRACK": "1", "OPENVINO_TELEMETRY": "0"}
    surroundings.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(  # noqa: S603 - our own script, with a Python that we made
            command,
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
