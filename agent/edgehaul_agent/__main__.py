"""``python -m edgehaul_agent``."""

import sys

from edgehaul_agent.cli import main

sys.exit(main())
