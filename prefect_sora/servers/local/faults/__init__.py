"""Faults: rules of what goes wrong, and their injection into answers and connections."""
