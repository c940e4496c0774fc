"""Installing: the model in use stays whole whatever fails, and at whatever step."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from edgehaul.bundle.archive import BundleReader
from edgehaul.bundle.manifest import Manifest, decode_manifest
from edgehaul.errors import (
    BundleCompatibilityError,
    BundleError,
    BundleIntegrityError,
    InstallError,
    ParityError,
)
from edgehaul_agent.update.files import SystemFiles
from edgehaul_agent.update.install import install_bundle
from edgehaul_agent.update.slots import InstalledModel, ModelStore, SlotName
from edgehaul_agent.update.tuning import Proof
from tests.fakes.bundles import write_small_bundle


def accept(manifest: Manifest, _folder: Path) -> Proof:
    return Proof(manifest.variants[0].name)


def refuse(manifest: Manifest, _folder: Path) -> Proof:
    raise ParityError("answers moved", where=manifest.name)


def install(bundle: Path, root: Path, **options: object) -> InstalledModel:
    return install_bundle(bundle, root, **{"prove": accept, **options})  # type: ignore[arg-type]  # any of the options


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "device"


def test_the_installed_model_is_the_packed_one(tmp_path: Path, root: Path) -> None:
    model = install(write_small_bundle(tmp_path), root)
    assert (model.name, model.manifest.version, model.variant) == ("parcels", "1.0.0", "int8")
    assert model.model_path().read_bytes() == b"1.0.0" * 1000
    assert ModelStore(root).names() == ("parcels",)


def test_versions_alternate_between_the_slots(tmp_path: Path, root: Path) -> None:
    folders = [
        install(write_small_bundle(tmp_path, v), root).folder.name
        for v in ("1.0.0", "1.1.0", "1.2.0")
    ]
    assert folders == ["a", "b", "a"]
    state = ModelStore(root).state("parcels")
    assert state is not None
    assert (state.version, state.previous_version, state.serial) == ("1.2.0", "1.1.0", 4)


def test_a_model_that_fails_its_proof_is_not_activated(tmp_path: Path, root: Path) -> None:
    install(write_small_bundle(tmp_path, "1.0.0"), root)
    with pytest.raises(ParityError):
        install(write_small_bundle(tmp_path, "2.0.0"), root, prove=refuse)
    assert ModelStore(root).active("parcels").manifest.version == "1.0.0"


def test_a_refused_model_is_none_that_one_could_go_back_to(tmp_path: Path, root: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        install(write_small_bundle(tmp_path, version), root)
    with pytest.raises(ParityError):
        install(write_small_bundle(tmp_path, "2.0.0"), root, prove=refuse)
    store = ModelStore(root)
    state = store.state("parcels")
    assert state is not None
    assert (state.version, state.previous_version, state.serial) == ("1.1.0", "", 3)
    assert not store.slot_folder("parcels", store.inactive("parcels")).exists()
    assert store.active("parcels").manifest.version == "1.1.0"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space or mend the disk"),
        (errno.EACCES, "install as a user that may write below"),
        (errno.EROFS, "writable"),
    ],
)
def test_a_disk_that_refuses_is_told_with_what_to_do(
    tmp_path: Path, root: Path, number: int, remedy: str
) -> None:
    def fail(_manifest: Manifest, folder: Path) -> Proof:
        raise OSError(number, os.strerror(number), str(folder))

    with pytest.raises(InstallError, match=f"the model in use is unchanged; .*{remedy}"):
        install(write_small_bundle(tmp_path), root, prove=fail)


def test_going_back_needs_a_word(tmp_path: Path, root: Path) -> None:
    install(write_small_bundle(tmp_path, "1.1.0"), root)
    old = write_small_bundle(tmp_path, "1.0.9")
    with pytest.raises(BundleCompatibilityError, match="--allow-downgrade"):
        install(old, root)
    assert install(old, root, allow_downgrade=True).manifest.version == "1.0.9"


def test_bundles_for_other_boxes_or_agents_are_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(BundleCompatibilityError, match="made for jetson"):
        install(write_small_bundle(tmp_path, device_types=("jetson",)), root, device_type="x86-64")
    with pytest.raises(BundleCompatibilityError, match="update the agent"):
        install(write_small_bundle(tmp_path, "1.0.1", minimum_agent="99.0.0"), root)
    assert ModelStore(root).names() == ()


def test_an_altered_bundle_changes_nothing(tmp_path: Path, root: Path) -> None:
    install(write_small_bundle(tmp_path, "1.0.0"), root)
    bundle = write_small_bundle(tmp_path, "2.0.0")
    content = bytearray(bundle.read_bytes())
    content[-2000] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(BundleError):
        install(bundle, root)
    assert ModelStore(root).active("parcels").manifest.version == "1.0.0"


def test_a_file_altered_on_the_disk_is_refused(tmp_path: Path, root: Path) -> None:
    model = install(write_small_bundle(tmp_path), root)
    model.model_path().write_bytes(b"1.0.0" * 999 + b"1.0.1")
    with pytest.raises(BundleIntegrityError, match="not the one that was installed"):
        ModelStore(root).active("parcels")


def test_a_broken_record_is_named_and_mended_by_installing(tmp_path: Path, root: Path) -> None:
    install(write_small_bundle(tmp_path), root)
    record = root / "models/parcels/state.json"
    record.write_bytes(record.read_bytes().replace(b'"active":"a"', b'"active":"b"'))
    with pytest.raises(InstallError, match="checksum"):
        ModelStore(root).active("parcels")
    install(write_small_bundle(tmp_path), root)
    assert ModelStore(root).active("parcels").manifest.version == "1.0.0"


def test_two_installations_at_once_are_refused(tmp_path: Path, root: Path) -> None:
    (root / "models").mkdir(parents=True)
    with (root / "models/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InstallError, match="under way"):
            install(write_small_bundle(tmp_path), root)


def test_an_unknown_model_says_what_there_is(tmp_path: Path, root: Path) -> None:
    install(write_small_bundle(tmp_path), root)
    with pytest.raises(InstallError, match=r"'trucks' is not installed \(installed: parcels\)"):
        ModelStore(root).active("trucks")


class StoppingFiles(SystemFiles):
    """A file system that stops working at the n-th durable step, before or amid the write."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise OSError(28, "No space left on device")

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        try:
            self._step()
        except OSError:
            path.with_name(path.name + ".partial").write_bytes(b"half")
            raise
        super().write(path, chunks)

    def make_folder(self, path: Path) -> None:
        self._step()
        super().make_folder(path)

    def remove_tree(self, path: Path) -> None:
        self._step()
        super().remove_tree(path)


def switch_to(bundle: Path, store: ModelStore) -> None:
    with BundleReader(bundle) as reader:
        slot = store.inactive("parcels")
        digest = store.fill("parcels", slot, reader)
        store.activate("parcels", slot, digest, Proof("int8"))


def test_a_stop_at_any_step_leaves_the_old_or_the_new_model(tmp_path: Path, root: Path) -> None:
    old, new = write_small_bundle(tmp_path, "1.0.0"), write_small_bundle(tmp_path, "2.0.0")
    seen = []
    for steps in range(20):
        install(old, root, allow_downgrade=True)
        with contextlib.suppress(OSError):
            switch_to(new, ModelStore(root, StoppingFiles(steps)))
        state = ModelStore(root).state("parcels")
        assert state is not None
        if state.previous_version:  # what it names is whole
            other: SlotName = "b" if state.active == "a" else "a"
            content = (
                ModelStore(root).slot_folder("parcels", other) / "manifest.json"
            ).read_bytes()
            assert decode_manifest(content, where="slot").version == state.previous_version
        seen.append(ModelStore(root).active("parcels").manifest.version)
        assert install(new, root).manifest.version == "2.0.0"
    assert seen == sorted(seen)
    assert {"1.0.0", "2.0.0"} == set(seen)
