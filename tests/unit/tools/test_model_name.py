"""Names of models: those that are given, and those that files have."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.bundle.manifest import require_name
from edgehaul_tools.cli import main
from edgehaul_tools.quantize.model_name import name_of


@pytest.mark.parametrize("command", ["quantize", "compress"])
def test_a_name_that_no_bundle_can_bear_is_refused_before_any_work(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.onnx").touch()  # no model, which is found later
    out = tmp_path / "out"
    given_name = ["--name", "<b>Parcels</b>", "--out", str(out)]
    assert main([command, str(tmp_path / "m.onnx"), *given_name]) == 2
    error = capsys.readouterr().err
    assert "--name: name '<b>Parcels</b>': use lower-case letters" in error
    assert "give, say, --name b-parcels--b" in error
    assert error.count("\n") == 1
    assert not out.exists()


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_every_file_has_a_name_that_a_bundle_can_bear(stem: str) -> None:
    require_name(name_of(Path(f"{stem}.onnx")))


def test_a_name_is_the_files_as_far_as_it_can_be() -> None:
    assert name_of(Path("models/Parcels 2.1.onnx")) == "parcels-2.1"
    assert name_of(Path("\u00c9tiquette.onnx")) == "tiquette"
    assert name_of(Path("\u5305\u88f9.onnx")) == "model"
