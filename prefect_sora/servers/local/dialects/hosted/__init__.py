"""Hosted servers and gateways whose `/videos` is of a form of their own."""
