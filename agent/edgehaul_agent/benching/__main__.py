"""One measured run as a process of its own: a job on standard input, what came of it on output."""

import logging
import sys

import msgspec

from edgehaul.errors import EXIT_OK, EdgeHaulError
from edgehaul.reporting import report_error
from edgehaul_agent.benching.job import Job
from edgehaul_agent.benching.runs import run
from edgehaul_agent.cli import set_up_opencv


def main() -> int:
    """Run the job and return the exit code."""
    # What a run without a broker warns of is known to whoever asked for it.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    set_up_opencv()
    try:
        measured = run(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))
    except EdgeHaulError as error:
        return report_error(error, program="bench", as_json=False)
    sys.stdout.write(msgspec.json.encode(measured).decode())
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
