"""Benchmarks: run by hand, on one machine, in one run; only ratios mean anything elsewhere."""
