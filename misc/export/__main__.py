"""The command `python -m misc.export`."""

import sys

from misc.export.command import main

sys.exit(main())
