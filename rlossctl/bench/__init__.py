"""Measuring the filter and the loss under it: what `rlossctl bench` runs."""
