"""The models on the box: two slots for each name, and one checksummed file that chooses.

Folder layout below the device's root::

    models/{name}/state.json      which slot is active; replaced in one rename
    models/{name}/slots/{a,b}/    a bundle's files, manifest.json written last
    .../optimised/{variant}.onnx  what the runtime made of the variant in use; may be missing
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from edgehaul.bundle.archive import BundleReader
from edgehaul.bundle.manifest import MANIFEST_NAME, Manifest, decode_manifest
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import BundleIntegrityError, InstallError
from edgehaul_agent.update.files import DurableFiles, SystemFiles
from edgehaul_agent.update.tuning import Proof, Tuning

_log = logging.getLogger(__name__)

SlotName = Literal["a", "b"]
Prove = Callable[[Manifest, Path], Proof]
"""Runs the golden vectors of a bundle unpacked in a folder, and chooses the variant to use."""
_REINSTALL = "install the bundle again"


class SlotState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``state.json`` says of one model.

    Attributes:
        serial: Grows with every change.
        active: The slot in use.
        version: Version in the active slot.
        variant: Variant chosen when it was installed.
        manifest_sha256: Digest of the active slot's manifest.
        previous_version: Version in the other slot, if it was in use before and is whole;
            empty if not.
        tuning: What was timed when the variant was chosen; none where nothing was.
    """

    serial: int
    active: SlotName
    version: str
    variant: str
    manifest_sha256: str
    previous_version: str = ""
    tuning: Tuning | None = None


class _SealedState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``state.json``: the state as it was written, with its checksum."""

    state: msgspec.Raw
    sha256: str


class InstalledModel(msgspec.Struct, frozen=True):
    """A model ready to run.

    Attributes:
        name: Name of the model.
        manifest: Its manifest.
        folder: Where its files lie.
        variant: The variant chosen for this box.
        manifest_sha256: Digest of the manifest, and so of all that was installed.
        tuning: What was timed when it was chosen; none where nothing was.
    """

    name: str
    manifest: Manifest
    folder: Path
    variant: str
    manifest_sha256: str
    tuning: Tuning | None = None

    def model_path(self, variant: str = "") -> Path:
        """Return the file of a variant; the chosen one if none is named."""
        return self.folder / self.manifest.variant(variant or self.variant).path


class ModelStore:
    """The models below a device's root folder.

    Args:
        root: The device's root folder.
        files: How to write.
    """

    def __init__(self, root: Path, files: DurableFiles | None = None) -> None:
        self._models = root / "models"
        self._files = files or SystemFiles()

    def names(self) -> tuple[str, ...]:
        """Return the names of the installed models."""
        return tuple(sorted(p.parent.name for p in self._models.glob("*/state.json")))

    def state(self, name: str) -> SlotState | None:
        """Return what is recorded of a model, None if it was never installed.

        Raises:
            InstallError: The record is unreadable.
        """
        path = self._models / name / "state.json"
        try:
            sealed = msgspec.json.decode(path.read_bytes(), type=_SealedState)
            state = msgspec.json.decode(sealed.state, type=SlotState)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE_JSON) as error:
            raise InstallError(
                f"unreadable record: {error}", where=path, remedy=_REINSTALL
            ) from error
        # Of the bytes, and not of what was understood: later versions may add to the state.
        if sealed.sha256 != _digest(bytes(sealed.state)):
            raise InstallError("the record's checksum is wrong", where=path, remedy=_REINSTALL)
        return state

    def readable_state(self, name: str) -> SlotState | None:
        """Return what is recorded of a model, None where that is nothing or unreadable.

        For installations: a broken record must not stop the one thing that mends it.
        """
        try:
            return self.state(name)
        except InstallError as error:
            _log.warning("%s", error)
            return None

    def active(self, name: str) -> InstalledModel:
        """Return the model in use, every file of it verified.

        Raises:
            InstallError: It is not installed.
            BundleIntegrityError: A file on the disk is not the one that was installed.
        """
        state = self.state(name)
        if state is None:
            have = ", ".join(self.names()) or "none"
            raise InstallError(
                f"model {name!r} is not installed (installed: {have})",
                where=self._models,
                remedy="run edgehaul flash, or edgehaul-agent install",
            )
        folder = self.slot_folder(name, state.active)
        manifest = verify_folder(folder, state.manifest_sha256)
        return InstalledModel(
            name, manifest, folder, state.variant, state.manifest_sha256, state.tuning
        )

    def slot_folder(self, name: str, slot: SlotName) -> Path:
        """Return where a slot's files lie."""
        return self._models / name / "slots" / slot

    def inactive(self, name: str) -> SlotName:
        """Return the slot that may be overwritten."""
        state = self.readable_state(name)
        return "b" if state is not None and state.active == "a" else "a"

    def fill(self, name: str, slot: SlotName, reader: BundleReader) -> str:
        """Write a bundle's files into a slot and return its manifest's digest.

        First of all the record lets go of what was in the slot: whenever the power fails, it
        names no version that one could go back to and that is not there. The manifest is
        written last: a slot without one is no model.

        Raises:
            BundleIntegrityError: The bundle's bytes are not as packed.
            OSError: The disk refuses.
        """
        before = self.readable_state(name)
        if before is not None and before.previous_version:
            self._record(
                name,
                msgspec.structs.replace(before, serial=before.serial + 1, previous_version=""),
            )
        slot_folder = self.slot_folder(name, slot)
        self._files.remove_tree(slot_folder)
        for entry, chunks in reader.files():
            path = slot_folder / entry.path
            self._files.make_folder(path.parent)
            self._files.write(path, chunks)
        self._files.write(slot_folder / MANIFEST_NAME, [reader.manifest_content])
        return _digest(reader.manifest_content)

    def discard(self, name: str, slot: SlotName) -> None:
        """Remove what `fill` has written and nobody may use; a disk that refuses is only told.

        The record does not name it either way.
        """
        try:
            self._files.remove_tree(self.slot_folder(name, slot))
        except OSError as error:
            _log.warning("the refused model could not be removed: %s", error)

    def activate(
        self, name: str, slot: SlotName, manifest_sha256: str, proof: Proof
    ) -> InstalledModel:
        """Make a filled slot the active one, in one durable step.

        Returns:
            The model now in use.

        Raises:
            BundleIntegrityError: The slot does not hold what was written.
            OSError: The disk refuses.
        """
        folder = self.slot_folder(name, slot)
        manifest = verify_folder(folder, manifest_sha256)
        before = self.readable_state(name)
        state = SlotState(
            serial=before.serial + 1 if before else 1,
            active=slot,
            version=manifest.version,
            variant=proof.variant,
            manifest_sha256=manifest_sha256,
            previous_version=before.version if before and before.active != slot else "",
            tuning=proof.tuning,
        )
        self._record(name, state)
        return InstalledModel(name, manifest, folder, proof.variant, manifest_sha256, proof.tuning)

    def retune(self, installed: InstalledModel, prove: Prove) -> InstalledModel:
        """Prove and time the model in use again, and record what comes of it.

        Args:
            installed: The model in use.
            prove: Proves what lies in its folder.

        Returns:
            The model as it is used from now on.

        Raises:
            ParityError: No variant answers as it did any more.
            ModelError: No variant can be loaded any more.
            BundleError: It was installed without golden answers.
            InstallError: An installation is under way, or another version is in use by now.
            OSError: The disk refuses.
        """
        name = installed.name
        # Not under the lock: a model that hangs shall not stop the installation of another one.
        proof = prove(installed.manifest, installed.folder)
        with self.locked():
            state = self.state(name)
            if state is None or not self._is_active(installed, state):
                raise InstallError(
                    "another version is in use by now", where=self._models / name, remedy=_REINSTALL
                )
            fresh = msgspec.structs.replace(
                state, serial=state.serial + 1, variant=proof.variant, tuning=proof.tuning
            )
            self._record(name, fresh)
        return msgspec.structs.replace(installed, variant=proof.variant, tuning=proof.tuning)

    def _is_active(self, installed: InstalledModel, state: SlotState) -> bool:
        return (self.slot_folder(installed.name, state.active), state.version) == (
            installed.folder,
            installed.manifest.version,
        )

    def _record(self, name: str, state: SlotState) -> None:
        content = msgspec.json.encode(state)
        sealed = _SealedState(msgspec.Raw(content), _digest(content))
        self._files.write(self._models / name / "state.json", [msgspec.json.encode(sealed)])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store against another installation.

        Raises:
            InstallError: Another installation is under way.
        """
        self._files.make_folder(self._models)
        with (self._models / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InstallError(
                    "another installation is under way",
                    where=self._models,
                    remedy="wait for it, then try again",
                ) from error
            yield


def verify_folder(folder: Path, manifest_sha256: str) -> Manifest:
    """Check every file of a slot against its manifest, and the manifest against its digest.

    Raises:
        BundleIntegrityError: A file is missing or changed.
    """
    path = folder / MANIFEST_NAME
    content = _read(path)
    if _digest(content) != manifest_sha256:
        raise BundleIntegrityError(
            "this is not the installed manifest", where=path, remedy=_REINSTALL
        )
    manifest = decode_manifest(content, where=str(path))
    for entry in manifest.files:
        if digest_of_file(folder / entry.path) != entry.sha256:
            raise BundleIntegrityError(
                "the file is not the one that was installed",
                where=folder / entry.path,
                remedy=_REINSTALL,
            )
    return manifest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        BundleIntegrityError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BundleIntegrityError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return BundleIntegrityError(f"cannot be read: {reason}", where=path, remedy=_REINSTALL)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
