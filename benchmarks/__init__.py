"""Figures, always as ratios or differences of two commands in one run: machines are shared and noisy."""
