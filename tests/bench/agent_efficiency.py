"""How much of the agent's processor time is decoding and the model, and how much is all the rest.

``edgehaul-agent bench`` on the clip (1280x720) and the detector (YOLO-like, 320x320) of
``edgehaul bench agent``, for several numbers of streams, publishing to a real mosquitto. Run::

    python tests/bench/agent_efficiency.py --work FOLDER [--streams 1,4,8] [--rounds 3]
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from saying import say

from edgehaul_tools.bench.agents.broker import mosquitto
from edgehaul_tools.bench.agents.material import VARIANTS, Material, prepare
from edgehaul_tools.bench.agents.programs import AGENT


def measure(
    material: Material, form: str, streams: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Return what the agent tells of one form and number of streams."""
    with mosquitto() as port:
        command = [
            *AGENT,
            "bench",
            str(material.bundle),
            f"--variant={VARIANTS[form]}",
            f"--source={material.clips[1]}",
            f"--streams={streams}",
            f"--frames={given.frames}",
            f"--rounds={given.rounds}",
            f"--broker=127.0.0.1:{port}",
            "--json",
        ]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="keeps clips and models")
    parser.add_argument("--streams", default="1,4,8")
    parser.add_argument("--variants", default="fp32,int8")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    material = prepare(given.work.absolute())
    heads = ("model", "streams", "ideal ms", "agent ms", "rest ms", "efficiency")
    say("{:<6}{:>8}{:>12}{:>12}{:>10}{:>12}".format(*heads))
    for form in given.variants.split(","):
        for streams in map(int, given.streams.split(",")):
            found = measure(material, form, streams, given)
            ideal = found["ideal_decode_ms_per_frame"] + found["ideal_run_ms_per_frame"]
            agent = found["cpu_ms_per_frame"]
            spread = f"({found['efficiency_least']:.3f} to {found['efficiency_most']:.3f})"
            say(
                f"{form:<6}{streams:>8}{ideal:>12.2f}{agent:>12.2f}{agent - ideal:>10.2f}"
                f"{found['efficiency']:>12.3f}  {spread}"
            )


if __name__ == "__main__":
    main()
