"""Flash a bundle: check it here, then let the device install and prove it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgehaul.bundle.archive import verify_bundle
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import EXIT_OK, DeviceError
from edgehaul_tools.flash.target import AgentReply, Target


class Flashed(msgspec.Struct, frozen=True):
    """What the device installed.

    Attributes:
        name: Name of the model.
        version: Its version.
        variant: The variant that the device chose.
        folder: Where it lies on the device.
    """

    name: str
    version: str
    variant: str
    folder: str = ""


class _AgentError(msgspec.Struct, frozen=True):
    """An error as ``edgehaul-agent --json`` writes it to standard error."""

    message: str
    where: str = ""
    remedy: str = ""


class _ErrorLine(msgspec.Struct, frozen=True):
    error: _AgentError


class FlashOptions(msgspec.Struct, frozen=True):
    """How to flash.

    Attributes:
        device_type: Type of the device; bundles for other types are refused.
        allow_downgrade: Whether an older version may replace a newer one.
    """

    device_type: str = ""
    allow_downgrade: bool = False


def flash_bundle(bundle: Path, target: Target, options: FlashOptions) -> Flashed:
    """Bring a bundle onto a device.

    Args:
        bundle: The bundle file; every byte is verified before anything is sent.
        target: The device.
        options: How to flash.

    Returns:
        What the device installed.

    Raises:
        BundleError: The bundle is unreadable or altered.
        DeviceError: The device refused; its own reason is in the message.
    """
    verify_bundle(bundle)
    arguments = ["install", target.place(bundle), "--root", target.root, "--json"]
    if options.device_type:
        arguments += ["--device-type", options.device_type]
    if options.allow_downgrade:
        arguments.append("--allow-downgrade")
    reply = target.run_agent(arguments)
    if reply.exit_code != EXIT_OK:
        raise _refusal(reply, target)
    try:
        return msgspec.json.decode(reply.output, type=Flashed)
    except UNREADABLE_JSON as error:
        raise DeviceError(
            f"the agent's answer is unreadable: {error}",
            where=target.name,
            remedy="check that agent and tools are of the same version",
        ) from error


def _refusal(reply: AgentReply, target: Target) -> DeviceError:
    """Return the device's own reason as our error."""
    lines = [line for line in reply.diagnostics.splitlines() if line.strip()]
    last = lines[-1] if lines else f"the agent ended with exit code {reply.exit_code}"
    try:
        error = msgspec.json.decode(last, type=_ErrorLine).error
    except UNREADABLE_JSON:
        return DeviceError(last, where=target.name, remedy="look at the device's own log")
    reason = f"{error.where}: {error.message}" if error.where else error.message
    return DeviceError(f"the device refused: {reason}", where=target.name, remedy=error.remedy)
