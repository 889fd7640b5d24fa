"""Layers folded into their neighbours: statistics into BN, per-channel layers into the layer before."""
