"""An import makes a whole directory that says what is in it, or nothing."""

import gzip
import io
import json
import resource
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.export_dataset import export_dataset
from edgehaul_tools.dataset.import_dataset import About, ImportOptions, import_dataset
from edgehaul_tools.dataset.manifest import read_manifest, verify_manifest
from edgehaul_tools.dataset.new_directory import new_directory
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.unpack import unpack
from edgehaul_tools.dataset.video_frames import Sampling

OPTIONS = ImportOptions()


def picture(path: Path, width: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path.name))).integers(0, 255, (30, width, 3))
    assert cv2.imwrite(str(path), noise.astype(np.uint8))
    return path


def yolo(root: Path) -> Path:
    for part in ("train", "val"):
        for name in ("a b", "ä"):
            picture(root / "images" / part / f"{name}.jpg")
            (root / "labels" / part).mkdir(parents=True, exist_ok=True)
            (root / "labels" / part / f"{name}.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("names: [parcel, van]\n")
    return root


def zipped(folder: Path, out: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(out, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, prefix + path.relative_to(folder).as_posix())
    return out


def tarred(folder: Path, out: Path) -> Path:
    with tarfile.open(out, "w:gz") as bundled:
        bundled.add(folder, "export")
    return out


def test_a_dataset_directory(tmp_path: Path) -> None:
    about = About("parcels", "2.1", "CC-BY-4.0", "https://example.org")
    imported = import_dataset(
        yolo(tmp_path / "src"), tmp_path / "deep" / "out", ImportOptions(about=about)
    )
    out = tmp_path / "deep" / "out"
    manifest = read_manifest(out)

    assert manifest == imported.manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("parcels", "2.1", "CC-BY-4.0")
    assert (manifest.origin, manifest.form, manifest.task) == (about.origin, "yolo", "detect")
    assert manifest.labels == ("parcel", "van")
    assert manifest.counts == {"train": 2, "val": 2}
    assert manifest.objects == {"parcel": 0, "van": 4}
    assert manifest.tool.startswith("edgehaul ")
    assert manifest.created_at.endswith("Z")
    assert sorted(record.path for record in manifest.files) == [
        "annotations.json",
        "images/train/a b.jpg",
        "images/train/ä.jpg",
        "images/val/a b.jpg",
        "images/val/ä.jpg",
    ]
    assert not verify_manifest(out)
    assert not list(out.parent.glob("*.partial"))
    first, again = read_dataset(tmp_path / "src"), read_dataset(out)
    assert [(s.boxes, s.group, s.part) for s in again.samples] == [
        (s.boxes, s.group, s.part) for s in first.samples
    ]


def test_the_same_source_makes_the_same_digest(tmp_path: Path) -> None:
    source = yolo(tmp_path / "x" / "set")
    digests = {import_dataset(source, tmp_path / "a", OPTIONS).manifest.digest}
    elsewhere = yolo(tmp_path / "y" / "set")
    digests.add(import_dataset(elsewhere, tmp_path / "b", OPTIONS).manifest.digest)
    assert len(digests) == 1
    (elsewhere / "labels" / "val" / "ä.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    digests.add(import_dataset(elsewhere, tmp_path / "c", OPTIONS).manifest.digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (zipped, "set.zip"),
        (lambda folder, out: zipped(folder, out, "top/"), "SET.ZIP"),
        (tarred, "set.tar.gz"),
    ],
)
def test_archives(tmp_path: Path, pack: Callable[[Path, Path], Path], name: str) -> None:
    source = yolo(tmp_path / "set")
    (source / ".DS_Store").write_text("x")
    import_dataset(pack(source, tmp_path / name), tmp_path / "out", OPTIONS)
    again = read_dataset(tmp_path / "out")
    assert [s.part for s in again.samples] == ["train", "train", "val", "val"]
    assert not verify_manifest(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "annotations.json",
        "dataset.json",
        "images",
    }


def test_pictures_may_be_linked(tmp_path: Path) -> None:
    import_dataset(yolo(tmp_path / "src"), tmp_path / "out", ImportOptions(link="hardlink"))
    name = "images/train/ä.jpg"
    assert (tmp_path / "out" / name).samefile(tmp_path / "src" / name)


def test_what_differs_from_the_manifest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_dataset(yolo(tmp_path / "src"), out, OPTIONS)
    (out / "images/train/a b.jpg").unlink()
    path = out / "images/train/ä.jpg"
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    picture(out / "images" / "new.jpg")
    manifest = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(manifest | {"licence": "mine"}))

    faults = verify_manifest(out)
    assert faults
    assert faults.missing == ("images/train/a b.jpg",)
    assert faults.altered == ("images/train/ä.jpg", "dataset.json")
    assert faults.extra == ("images/new.jpg",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2 is unknown"),
        ({"files": [{"path": "../x", "sha256": "", "size_bytes": 0}]}, "no path below"),
        ({"files": [{"path": "/x", "sha256": "", "size_bytes": 0}]}, "no path below"),
        ({"labels": 3}, "no manifest of a dataset"),
    ],
)
def test_manifests_that_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    out = tmp_path / "out"
    imported = import_dataset(yolo(tmp_path / "src"), out, OPTIONS)
    content = msgspec.to_builtins(imported.manifest) | changes
    (out / "dataset.json").write_bytes(msgspec.json.encode(content))
    with pytest.raises(DatasetError, match=message):
        verify_manifest(out)


KILLED = """
import os, signal, sys
from pathlib import Path
from edgehaul_tools.dataset.import_dataset import ImportOptions, import_dataset
def stop(done, total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
import_dataset(Path(sys.argv[1]), Path(sys.argv[2]), ImportOptions(), stop)
"""


def test_a_killed_import_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    source, out = yolo(tmp_path / "src"), tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(source), str(out)], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    partial = tmp_path / "out.partial"
    assert len(list(partial.rglob("*.jpg"))) == 2
    (partial / "images" / "stale.jpg").write_text("of the first attempt")

    import_dataset(source, out, OPTIONS)
    assert not verify_manifest(out)
    assert not partial.exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (400, 400, 3))
        source.mkdir(exist_ok=True)
        cv2.imwrite(str(source / f"{number}.bmp"), noise.astype(np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(DatasetError, match=r"cannot be written: .*free space"):
            import_dataset(source, tmp_path / "out", OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from edgehaul_tools.dataset.new_directory import new_directory
def stop(name, _arguments):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
with new_directory(Path(sys.argv[1])) as folder:
    (folder / "all").write_text("of it")
    sys.addaudithook(stop)
"""


@pytest.mark.parametrize(("event", "there"), [("os.rename", []), ("os.remove", ["all"])])
def test_a_kill_in_the_last_moment_is_in_nobodys_way(
    tmp_path: Path, event: str, there: list[str]
) -> None:
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED_AT, str(out), event], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in out.glob("[!.]*")] == there
    if not there:
        with new_directory(out) as folder:
            (folder / "all").write_text("of it")
        assert [path.name for path in out.iterdir()] == ["all"]


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_directory_without_a_name(name: str) -> None:
    with pytest.raises(DatasetError, match="needs a name"), new_directory(Path(name)):
        pass


ABOUT = About("parcels", "2.1", "MIT", "https://example.org")


def spoilt(folder: Path) -> Path:
    """Make the manifest something else of this name."""
    (folder / "dataset.json").write_text("[]")
    return folder


@pytest.mark.parametrize(
    ("source", "known"),
    [
        (lambda out: out, ABOUT),
        (lambda out: out / "annotations.json", ABOUT),
        (lambda out: zipped(out, out.with_name("packed.zip"), "top/"), ABOUT),
        (spoilt, About("out", "1", "", "out")),
    ],
)
def test_what_is_known_of_a_dataset_is_kept(
    tmp_path: Path,
    source: Callable[[Path], Path],
    known: About,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    import_dataset(yolo(tmp_path / "src"), out, ImportOptions(about=ABOUT))

    again = import_dataset(source(out), tmp_path / "again", OPTIONS).manifest
    assert About(again.name, again.version, again.licence, again.origin) == known
    assert ("its licence and origin are not known" in caplog.text) == (known != ABOUT)


def test_what_is_given_counts_more_than_what_is_known(tmp_path: Path) -> None:
    import_dataset(yolo(tmp_path / "src"), tmp_path / "out", ImportOptions(about=ABOUT))
    changed = ImportOptions(about=About(version="2.2", licence="CC0-1.0"))
    again = import_dataset(tmp_path / "out", tmp_path / "again", changed).manifest
    assert (again.name, again.origin) == (ABOUT.name, ABOUT.origin)
    assert (again.version, again.licence) == ("2.2", "CC0-1.0")


def test_an_export_as_coco_names_the_licence(tmp_path: Path) -> None:
    import_dataset(yolo(tmp_path / "src"), tmp_path / "out", ImportOptions(about=ABOUT))
    export_dataset(read_dataset(tmp_path / "out"), "coco", tmp_path / "coco")
    content = json.loads((tmp_path / "coco/annotations/instances_val.json").read_text())
    assert content["licenses"] == [{"id": 1, "name": "MIT", "url": ""}]
    assert content["info"] == {"description": "parcels, from https://example.org", "version": "2.1"}
    assert len(read_dataset(tmp_path / "coco")) == 4


def test_two_imports_at_once_into_one_place(tmp_path: Path) -> None:
    source, out = yolo(tmp_path / "src"), tmp_path / "out"
    with new_directory(out) as folder:
        (folder / "mine").write_text("stays")
        with pytest.raises(DatasetError, match="another process writes this now"):
            import_dataset(source, out, OPTIONS)
    assert (out / "mine").is_file()


def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    source, out = yolo(tmp_path / "src"), tmp_path / "out"
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="in the way, and not ours"):
        import_dataset(source, out, OPTIONS)
    assert (tmp_path / "out.partial" / "thesis.txt").is_file()

    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="no empty folder"):
        import_dataset(source, out, OPTIONS)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"hello"}, {"a.jpg": b"no picture"}])
def test_sources_that_hold_no_dataset(tmp_path: Path, content: dict[str, bytes]) -> None:
    (tmp_path / "src").mkdir()
    for name, data in content.items():
        (tmp_path / "src" / name).write_bytes(data)
    with pytest.raises(DatasetError, match=r"no pictures are here|damaged or cut short"):
        import_dataset(tmp_path / "src", tmp_path / "out", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
    with pytest.raises(DatasetError, match="nothing is here"):
        import_dataset(tmp_path / "nowhere", tmp_path / "out", OPTIONS)


def bad_zip(name: str, content: bytes = b"x", mode: int = 0o100644) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = mode << 16
        packed.writestr(entry, content)
    return stream.getvalue()


def bad_tar(name: str, kind: bytes, target: str = "/etc/passwd") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as bundled:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = target
        bundled.addfile(member)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", bad_zip("../evil.jpg"), "outside of it"),
        ("a.zip", bad_zip("/evil.jpg"), "outside of it"),
        ("a.zip", bad_zip("a\\..\\..\\evil.jpg"), "outside of it"),
        ("a.zip", bad_zip("link.jpg", b"/etc/passwd", 0o120777), "a link or a device"),
        ("a.zip", bad_zip("bomb.json", bytes(96 << 20)), "100 times its size"),
        ("a.zip", bad_zip("a.jpg")[:-30], "cannot be read"),
        ("a.zip", b"", "cannot be read"),
        ("a.tar", bad_tar("../evil.jpg", tarfile.REGTYPE), "outside of it"),
        ("a.tar", bad_tar("link.jpg", tarfile.SYMTYPE), "a link or a device"),
        ("a.tar", bad_tar("link.jpg", tarfile.LNKTYPE), "a link or a device"),
        ("a.tar", bad_tar("pipe.jpg", tarfile.FIFOTYPE), "a link or a device"),
        (
            "a.tar.gz",
            gzip.compress(bad_tar("a.jpg", tarfile.REGTYPE), mtime=0)[:-20],
            "cannot be read",
        ),
        ("a.tar.gz", b"not gzip", "cannot be read"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        import_dataset(tmp_path / name, tmp_path / "out", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_in_an_archive_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as bundled:
        for _ in range(2):
            bundled.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(DatasetError, match="in it twice"):
        unpack(tmp_path / "a.tar", tmp_path / "folder")


def test_an_archive_that_names_pictures_of_this_machine(tmp_path: Path) -> None:
    private = picture(tmp_path / "private.jpg")
    (tmp_path / "src").mkdir()
    images = [{"id": 1, "file_name": str(private)}]
    content = {"images": images, "categories": [{"id": 1, "name": "van"}]}
    (tmp_path / "src" / "annotations.json").write_text(json.dumps(content))
    archive = zipped(tmp_path / "src", tmp_path / "a.zip")
    with pytest.raises(DatasetError, match="names a picture outside of it"):
        import_dataset(archive, tmp_path / "out", OPTIONS)
    assert private.is_file()


def test_names_that_lead_out_of_the_dataset_stay_in_it(tmp_path: Path) -> None:
    root = tmp_path / "src" / "deep" / "marks"
    picture(root / "a.jpg")
    picture(tmp_path / "src" / "x" / "b.jpg")
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "../../x/b.jpg"}]
    content = {"images": images, "categories": [{"id": 1, "name": "van"}]}
    (root / "annotations.json").write_text(json.dumps(content))
    import_dataset(root, tmp_path / "out", OPTIONS)
    assert sorted(
        p.relative_to(tmp_path).as_posix() for p in (tmp_path / "out").rglob("*.jpg")
    ) == [
        "out/images/deep/marks/a.jpg",
        "out/images/x/b.jpg",
    ]


def test_faults_in_an_archive_are_told_by_its_own_name(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set")
    (source / "labels" / "val" / "ä.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    archive = zipped(source, tmp_path / "a.zip")
    with pytest.raises(DatasetError, match=r"a\.zip/labels/val/ä\.txt:1: class 7") as caught:
        import_dataset(archive, tmp_path / "out", OPTIONS)
    assert "partial" not in str(caught.value)


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 5 * number, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("sampling", "taken"),
    [
        (Sampling(), list(range(12))),
        (Sampling(every=5), [0, 5, 10]),
        (Sampling(fps=2.5), [0, 4, 8]),
        (Sampling(fps=100), list(range(12))),
    ],
)
def test_frames_of_a_video(tmp_path: Path, sampling: Sampling, taken: list[int]) -> None:
    video = write_video(tmp_path / "dock 3.avi", 12)
    imported = import_dataset(video, tmp_path / "out", ImportOptions(sampling=sampling))
    dataset = read_dataset(tmp_path / "out")

    assert imported.manifest.form == "video"
    assert [int(sample.path.stem) for sample in dataset.samples] == taken
    assert {sample.group for sample in dataset.samples} == {"dock 3.avi"}
    assert dataset.labels == ()
    shades = [cv2.imread(str(sample.path))[0, 0, 0] for sample in dataset.samples]
    assert shades == pytest.approx([5 * number for number in taken], abs=3)


def test_videos_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"hello")
    with pytest.raises(DatasetError, match="cannot be opened"):
        import_dataset(tmp_path / "a.mp4", tmp_path / "out", OPTIONS)
    with pytest.raises(DatasetError, match="not files of their own; run: edgehaul data import"):
        read_dataset(tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "frames", "fault"),
    [
        ("tree.avi", 7, "68 of the 444 frames decode"),
        ("box.mp4", 46, "455 of the 456 frames decode"),
    ],
)
def test_real_videos_that_are_damaged(
    shared_data: Path, tmp_path: Path, name: str, frames: int, fault: str
) -> None:
    options = ImportOptions(sampling=Sampling(every=10))
    imported = import_dataset(shared_data / "video" / name, tmp_path / "out", options)
    assert imported.manifest.counts == {"undivided": frames}
    assert [line.endswith(fault) for line in imported.faults] == [True]


@pytest.mark.shared_data
def test_a_real_voc_dataset_becomes_ours(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "images" / "bccd_voc"
    imported = import_dataset(source, tmp_path / "out", OPTIONS)
    again, first = read_dataset(tmp_path / "out"), read_dataset(source)

    assert imported.manifest.counts == {"train": 205, "val": 87, "test": 72}
    assert len(imported.faults) == 2
    assert [(s.path.name, s.boxes, s.ignored, s.group, s.part) for s in again.samples] == [
        (s.path.name, s.boxes, s.ignored, s.group, s.part) for s in first.samples
    ]
    assert not again.faults
