"""Commands: one file each, of what is particular to it."""
