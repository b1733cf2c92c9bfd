"""Benchmarks of lb beside HAProxy and nginx: `python -m bench`."""
