"""Batches: many requests, a few at a time, and what became of each."""
