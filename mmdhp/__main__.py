"""``python -m mmdhp``: the command line."""

import sys

from mmdhp.cli import main

sys.exit(main())
