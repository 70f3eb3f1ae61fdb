"""Benchmarks. A figure is a ratio or difference of two commands in one run, because machines are shared and noisy."""
