"""Whose job is it? A listed job against a request, its rivals and its clock; pure."""
