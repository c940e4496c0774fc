"""Bundles: deterministic, and refused at the first byte that is not as packed."""

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.bundle.archive import (
    BundleReader,
    file_entries,
    read_manifest,
    verify_bundle,
    write_bundle,
)
from edgehaul.bundle.manifest import Manifest, Variant, encode_manifest
from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import BundleError, BundleIntegrityError

SPEC = ModelSpec(
    task="detect",
    input=ImageInput(width=32, height=32),
    output=OutputSpec(head="edgehaul", labels=("parcel",)),
)
FILES = {
    "int8.onnx": bytes(range(256)) * 5,
    "golden/000.input.npy": b"x" * 512,
    "empty.txt": b"",
}


def manifest_for(files: dict[str, bytes]) -> Manifest:
    return Manifest(
        name="parcels",
        version="1.0.0",
        spec=SPEC,
        variants=(Variant(name="int8", path="int8.onnx", precision="int8"),),
        files=file_entries(files),
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "parcels-1.0.0.edgehaul"
    write_bundle(path, manifest_for(FILES), FILES)
    return path


def test_the_same_bundle_built_twice_is_bit_identical(bundle: Path, tmp_path: Path) -> None:
    reordered = dict(reversed(FILES.items()))
    again = tmp_path / "again.edgehaul"
    write_bundle(again, manifest_for(reordered), reordered)
    assert again.read_bytes() == bundle.read_bytes()


def test_reading_gives_back_what_was_written(bundle: Path) -> None:
    with BundleReader(bundle) as reader:
        content = {entry.path: b"".join(chunks) for entry, chunks in reader.files()}
        assert content == FILES
        assert reader.manifest == manifest_for(FILES)
        assert reader.manifest_content == encode_manifest(reader.manifest)
    assert read_manifest(bundle) == verify_bundle(bundle)


def test_any_tar_lists_it_and_the_manifest_comes_first(bundle: Path) -> None:
    with tarfile.open(bundle) as archive:
        names = archive.getnames()
    assert names == ["manifest.json", "manifest.sha256", *sorted(FILES)]


def test_each_flipped_byte_of_the_whole_archive_is_refused(bundle: Path, tmp_path: Path) -> None:
    good = bundle.read_bytes()
    damaged = tmp_path / "damaged.edgehaul"
    for position in range(len(good)):
        content = bytearray(good)
        content[position] ^= 1 << (position % 8)
        damaged.write_bytes(content)
        with pytest.raises(BundleError):
            verify_bundle(damaged)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cut_or_lengthened_archives_are_refused(bundle: Path, data: st.DataObject) -> None:
    good = bundle.read_bytes()
    damaged = bundle.with_name("cut.edgehaul")
    if data.draw(st.booleans()):
        damaged.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    else:
        damaged.write_bytes(good + data.draw(st.binary(min_size=1, max_size=2000)))
    with pytest.raises(BundleError):
        verify_bundle(damaged)


def test_the_error_names_file_cause_and_remedy(bundle: Path, tmp_path: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[content.index(b"x" * 100)] ^= 1
    damaged = tmp_path / "damaged.edgehaul"
    damaged.write_bytes(content)
    with pytest.raises(BundleIntegrityError) as caught:
        verify_bundle(damaged)
    assert str(damaged) in str(caught.value)
    assert "golden/000.input.npy" in str(caught.value)
    assert "pack it again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(2048), b"\x80\x02]q" * 400])
def test_other_files_are_no_bundles(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.edgehaul"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="no EdgeHaul bundle"):
        read_manifest(path)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        read_manifest(tmp_path / "missing.edgehaul")


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/passwd", "a/../b", "a//b", "manifest.json", "a\\b", "", "x" * 100]
)
def test_paths_that_leave_the_folder_cannot_be_listed(path: str) -> None:
    with pytest.raises(ValueError, match=r"plain relative path|cannot list itself"):
        file_entries({path: b""})


def test_files_must_match_the_manifest(tmp_path: Path) -> None:
    out = tmp_path / "x.edgehaul"
    with pytest.raises(BundleError, match="not both"):
        write_bundle(out, manifest_for(FILES), {**FILES, "more.txt": b""})
    changed = {**FILES, "empty.txt": b"not empty"}
    with pytest.raises(BundleError, match="changed while"):
        write_bundle(out, manifest_for(FILES), changed)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "a.edgehaul"
    with pytest.raises(BundleError, match=r"a\.edgehaul: cannot write .*; correct the path"):
        write_bundle(out, manifest_for(FILES), FILES)
