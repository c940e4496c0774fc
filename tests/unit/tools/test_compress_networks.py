"""What a search is made of: refused first where it cannot be, never taken for another."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.config.recipe import AnomalyRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.cli import main
from edgehaul_tools.compress.beginning import place_for, require_possible
from edgehaul_tools.compress.fingerprint import fingerprint
from edgehaul_tools.compress.journal import JOURNAL_NAME
from edgehaul_tools.compress.material import Material
from edgehaul_tools.compress.networks import WORK
from edgehaul_tools.compress.options import Options, pruned_name
from edgehaul_tools.prune.teaching import taught_by, teaching_notes
from edgehaul_tools.quantize.target import TARGETS, target_here
from edgehaul_tools.train.continued import open_run_recipe
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.qat.training import Course, Int8, has_learnt, learn_rounded
from edgehaul_tools.train.run_directory import RUN_FILE, read_run

RECIPE = Recipe(
    anomaly=AnomalyRecipe(
        width=16,
        height=16,
        channels=4,
        latent=4,
        threads=1,
        augment=AugmentSection(flip=0),
        split=SplitSection(train=0.5, val=0.25, test=0.25),
        optimizer=OptimizerSection(epochs=1, batch=8, average_decay=0),
    )
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    (folder / "data").mkdir()
    for seed in range(16):
        cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        large = cv2.resize(cells, (16, 16), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / "data" / f"{seed}.png"), large)
    follow_recipe(RECIPE, folder / "data", folder / "run")
    return folder / "run"


def test_a_training_of_another_kind_is_not_taken_for_this_one(run: Path, tmp_path: Path) -> None:
    given, out = open_run_recipe(run), tmp_path / "qat"
    course = Course(epochs=1, notes=teaching_notes())
    assert not has_learnt(given, out, Int8(7), course)
    learn_rounded(given, out, Int8(7), course, taught=taught_by(given))
    assert has_learnt(given, out, Int8(7), course)
    assert not has_learnt(given, out, Int8(8), course)
    assert not has_learnt(given, out, Int8(7), Course(epochs=2, notes=teaching_notes()))
    assert not has_learnt(given, out, Int8(7), Course(epochs=1, notes=teaching_notes(0.1)))
    found = read_run(out)
    assert found.origin is not None
    other = msgspec.structs.replace(found.origin, weights_sha256="0")
    changed = msgspec.structs.replace(found, origin=other)
    (out / RUN_FILE).write_bytes(msgspec.json.encode(changed))
    assert not has_learnt(given, out, Int8(7), course), "of other weights"
    (out / RUN_FILE).unlink()
    assert not has_learnt(given, out, Int8(7), course), "unfinished"


def test_shares_that_differ_have_names_that_differ() -> None:
    assert pruned_name(0.5) == "pruned50"
    assert pruned_name(0.121) != pruned_name(0.124)
    Options(prune=(0.121, 0.124)).require_possible()


@pytest.mark.parametrize(
    "options",
    [
        Options(prune=(0.5, 0.5)),
        Options(prune=(float("nan"),)),
        Options(prune=(float("inf"),)),
        Options(min_speedup=float("nan")),
    ],
)
def test_what_is_no_number_or_named_twice_is_refused(options: Options) -> None:
    with pytest.raises(UsageError):
        options.require_possible()


def test_what_cannot_be_is_refused_before_the_model_is_read(tmp_path: Path) -> None:
    model = tmp_path / "no-model.onnx"
    model.write_bytes(b"nothing that can be read")
    with pytest.raises(UsageError, match="cannot be trained"):
        require_possible(model, tmp_path, Options(qat_epochs=1))
    (tmp_path / JOURNAL_NAME).write_bytes(b'{"search":"a"}\n')
    with pytest.raises(UsageError, match="--resume"):
        require_possible(model, tmp_path, Options())
    require_possible(model, tmp_path, Options(resume=True))


def test_a_run_that_has_learnt_int8_is_refused_before_it_is_exported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn_rounded(open_run_recipe(run), tmp_path / "qat", Int8(), Course(epochs=1))
    out = tmp_path / "out"
    assert main(["compress", str(tmp_path / "qat"), "--qat", "1", "--out", str(out)]) == 2
    assert "already" in capsys.readouterr().err
    assert not out.exists()


def test_a_search_that_fails_leaves_no_directory_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"

    def failing(journal: bytes) -> None:
        with place_for(out):
            (out / WORK).mkdir()
            (out / WORK / "source.onnx").write_bytes(b"exported")
            (out / JOURNAL_NAME).write_bytes(journal)
            raise ModelError("the search failed")

    with pytest.raises(ModelError):
        failing(b'{"search":"a"}\n')
    assert not (tmp_path / "new").exists()
    with pytest.raises(ModelError):
        failing(b'{"search":"a"}\n{"network":"given"}\n')
    assert [file.name for file in out.iterdir()] == [JOURNAL_NAME], "it can be gone on with"


def test_other_data_in_the_same_folder_is_another_search(run: Path, tmp_path: Path) -> None:
    pictures, out, model = tmp_path / "pictures", tmp_path / "pictures" / "out", tmp_path / "m.onnx"
    out.mkdir(parents=True)
    (pictures / "1.png").write_bytes(b"one")
    model.write_bytes(b"model")
    material = Material(model, None, pictures, None, None, None)
    spec = read_run(run).spec
    before = fingerprint(material, spec, Options(), out)
    (out / JOURNAL_NAME).write_bytes(b"what the search writes is none of its data")
    assert fingerprint(material, spec, Options(), out) == before
    (pictures / "2.png").write_bytes(b"two")
    assert fingerprint(material, spec, Options(), out) != before


def test_the_identity_of_a_search_knows_what_auto_means() -> None:
    auto = Options().identity
    assert auto == Options(targets=(target_here(),), budget_s=1.0, resume=True).identity
    others = [t for t in TARGETS.values() if t != target_here()]
    assert all(auto != Options(targets=(t,)).identity for t in others)
