"""Install a bundle: check it, write the inactive slot, prove it on this box, then switch."""

from __future__ import annotations

import errno
import logging
import platform
import shutil
from pathlib import Path

import edgehaul
from edgehaul.bundle.archive import BundleReader
from edgehaul.bundle.manifest import Manifest, version_key
from edgehaul.errors import BundleCompatibilityError, InstallError
from edgehaul_agent.update.slots import InstalledModel, ModelStore, Prove

_log = logging.getLogger(__name__)

_SPARE_BYTES = 4 << 20


def install_bundle(
    bundle: Path,
    root: Path,
    *,
    prove: Prove,
    device_type: str = "",
    allow_downgrade: bool = False,
) -> InstalledModel:
    """Install a bundle below ``root``; whatever fails, the model in use stays in use.

    Args:
        bundle: The bundle file.
        root: The device's root folder.
        prove: Checks the unpacked bundle on this box and chooses the variant.
        device_type: Type of this device; empty installs a bundle for any type.
        allow_downgrade: Whether an older version may replace a newer one.

    Returns:
        The model, now active.

    Raises:
        BundleError: The bundle is unreadable, altered, or not for this device.
        ParityError: The model answers differently on this box.
        InstallError: The disk refuses, or another installation is under way.
    """
    store = ModelStore(root)
    try:
        with store.locked(), BundleReader(bundle) as reader:
            manifest = reader.manifest
            check_compatible(manifest, bundle, device_type)
            _check_version(manifest, store, bundle, allow_downgrade=allow_downgrade)
            _check_space(manifest, root, bundle)
            slot = store.inactive(manifest.name)
            try:
                digest = store.fill(manifest.name, slot, reader)
                proof = prove(manifest, store.slot_folder(manifest.name, slot))
            except BaseException:
                store.discard(manifest.name, slot)
                raise
            installed = store.activate(manifest.name, slot, digest, proof)
    except OSError as error:
        raise _refusal(error, root) from error
    _log.info("installed %s %s, variant %s", manifest.name, manifest.version, proof.variant)
    return installed


def _refusal(error: OSError, root: Path) -> InstallError:
    remedy = "free space or mend the disk"
    if error.errno in {errno.EACCES, errno.EPERM}:
        remedy = f"install as a user that may write below {root}"
    elif error.errno == errno.EROFS:
        remedy = f"mount the disk of {root} writable"
    return InstallError(
        f"the disk refuses: {error.strerror or error}",
        where=error.filename or root,
        remedy=f"the model in use is unchanged; {remedy}, then try again",
    )


def check_compatible(manifest: Manifest, where: Path, device_type: str) -> None:
    """Refuse a bundle made for other devices or newer agents.

    Raises:
        BundleCompatibilityError: It is not for this device or this agent.
    """
    if device_type and manifest.device_types and device_type not in manifest.device_types:
        raise BundleCompatibilityError(
            f"made for {', '.join(manifest.device_types)}; this device is {device_type!r}",
            where=where,
            remedy=f"pack it with --device-type {device_type}",
        )
    if version_key(manifest.minimum_agent) > version_key(edgehaul.__version__):
        raise BundleCompatibilityError(
            f"needs agent {manifest.minimum_agent}; this is {edgehaul.__version__} "
            f"on {platform.machine()}",
            where=where,
            remedy="update the agent first",
        )


def _check_version(
    manifest: Manifest, store: ModelStore, where: Path, *, allow_downgrade: bool
) -> None:
    before = store.readable_state(manifest.name)
    if before is None or allow_downgrade:
        return
    if version_key(manifest.version) < version_key(before.version):
        raise BundleCompatibilityError(
            f"version {manifest.version} is older than the installed {before.version}",
            where=where,
            remedy="add --allow-downgrade to go back on purpose",
        )


def _check_space(manifest: Manifest, root: Path, where: Path) -> None:
    needed = sum(entry.size_bytes for entry in manifest.files) + _SPARE_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise InstallError(
            f"needs {needed / 2**20:.0f} MiB below {root}, {free / 2**20:.0f} MiB are free",
            where=where,
            remedy="free space; the model in use is unchanged",
        )
