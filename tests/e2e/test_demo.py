"""The demo, whole: what it promises is what it measures."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgehaul.bundle.archive import verify_bundle
from edgehaul.virtual.truck import TruckTrip

PROMISED_S = 240


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_keeps_its_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "edgehaul_tools", "demo", "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)

    reference, *others = summary["map50"].values()
    assert reference >= 0.95
    assert all(reference - value <= 0.01 for value in others)
    assert summary["counted"] == summary["true_counts"]
    assert sum(summary["counted"].values()) > 20
    assert summary["anomalies_true"] == len(TruckTrip(seed=7, duration_s=1800.0).anomalies) > 0
    assert summary["anomalies_found"] == summary["anomalies_true"]
    received = summary["messages_received"] + summary["messages_declared_lost"]
    assert received == summary["messages_produced"] > 3000

    assert summary["unmet"] == []
    # A figure and no gate: other programs may keep this machine busy.
    took = f"the demo took {summary['seconds']:.0f} s of the {PROMISED_S} s that it may take"
    with capsys.disabled():
        sys.stdout.write(f"\n{took}\n")

    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("<svg") == 6
    assert report.count("data:image/jpeg;base64,") == 2
    assert not re.search(r"(src|href)=\"https?:", report), "the report needs no network"
    for bundle in out.glob("*.edgehaul"):
        verify_bundle(bundle)
