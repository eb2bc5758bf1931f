"""`python -m voxplain` is the command `voxplain`."""

import sys

from voxplain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
