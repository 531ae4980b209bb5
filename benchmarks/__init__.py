"""Benchmarks: what we promise of speed and memory, as ratios measured side by side in one run."""
