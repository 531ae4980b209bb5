"""Imported once by the process that others are forked off."""

import tests.support.bytecode  # noqa: F401 - before what it is about is imported

# isort: split
from tests.support.processes import preload

preload()
