"""``python -m controller``: the same as ``saga-manager``."""

from __future__ import annotations

import sys

from controller.launcher import saga_main

if __name__ == "__main__":
    sys.exit(saga_main())
