"""Runs the command line: ``python -m edgehaul_tools``."""

import sys

from edgehaul_tools.cli import main

sys.exit(main())
