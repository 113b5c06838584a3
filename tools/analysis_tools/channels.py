#!/usr/bin/env python
"""``mmdhp inspect`` as a script, see ``--help``."""

import sys

from mmdhp.cli import main

if __name__ == '__main__':
    sys.exit(main(['inspect', *sys.argv[1:]]))
