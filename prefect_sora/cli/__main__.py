"""`python -m prefect_sora.cli`."""

import sys

from prefect_sora.cli import main

if __name__ == "__main__":
    sys.exit(main())
