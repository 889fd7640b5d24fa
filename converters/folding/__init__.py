"""Folds statistics into BN layers, and per-channel layers into the layer before them."""
