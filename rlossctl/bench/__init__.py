"""Measures the filter and the loss built on it, for `rlossctl bench`."""
