"""Micro benchmarks: one function of lb in this process, timed in nanoseconds."""
