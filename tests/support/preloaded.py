"""Imported once by the server that commands are forked from."""

from tests.support.commands import preload

preload()
