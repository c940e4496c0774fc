"""Where a bundle can be flashed to. Each target runs the device's own ``edgehaul-agent``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from edgehaul.errors import DeviceError


class AgentReply(msgspec.Struct, frozen=True):
    """How a run of ``edgehaul-agent`` on the target ended.

    Attributes:
        exit_code: Its exit code.
        output: What it wrote to standard output.
        diagnostics: What it wrote to standard error.
    """

    exit_code: int
    output: str
    diagnostics: str


class Target(Protocol):
    """A device that can be flashed."""

    @property
    def name(self) -> str:
        """How messages name the target."""
        ...

    @property
    def root(self) -> str:
        """The device's root folder, as the device sees it."""
        ...

    def place(self, bundle: Path) -> str:
        """Bring the bundle to the device and return its path there."""
        ...

    def run_agent(self, arguments: list[str]) -> AgentReply:
        """Run ``edgehaul-agent`` on the device."""
        ...


class FolderTarget:
    """A device whose root folder is on this machine: a mounted card, an image, a virtual device.

    Args:
        root: The device's root folder.
        agent: How to start the agent; by default the one installed beside these tools.
        timeout_s: Longest time an installation may take.
    """

    def __init__(
        self, root: Path, agent: tuple[str, ...] = (), *, timeout_s: float = 600.0
    ) -> None:
        self._root = root
        self._agent = agent or (sys.executable, "-m", "edgehaul_agent")
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """How messages name the target."""
        return str(self._root)

    @property
    def root(self) -> str:
        """The device's root folder."""
        return str(self._root)

    def place(self, bundle: Path) -> str:
        """Return the bundle's own path: it needs no copy."""
        return str(bundle.resolve())

    def run_agent(self, arguments: list[str]) -> AgentReply:
        """Run ``edgehaul-agent`` here.

        Raises:
            DeviceError: The agent cannot be started, or does not end.
        """
        try:
            done = subprocess.run(  # noqa: S603 - our own program, arguments as a list
                [*self._agent, *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=self._timeout_s,
            )
        except OSError as error:
            raise DeviceError(
                f"cannot start the agent: {error.strerror}",
                where=self._agent[0],
                remedy="install it with pip install 'edgehaul[agent]'",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise DeviceError(
                f"the installation did not end within {self._timeout_s:.0f} s",
                where=self.name,
                remedy="look at the device; the model in use is unchanged",
            ) from error
        return AgentReply(done.returncode, done.stdout, done.stderr)
