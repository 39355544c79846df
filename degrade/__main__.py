"""`python -m degrade`: see `degrade.cli`."""

import sys

from degrade.cli import main

if __name__ == "__main__":
    sys.exit(main())
