"""Graphs on the grid of pixels: chains along rows and columns, spanning trees, dual decomposition."""

from rlossctl.grid.dual import DualDecomposition, Grid, dual_decomposition, hidden_grids, linear_grids

__all__ = ["DualDecomposition", "Grid", "dual_decomposition", "hidden_grids", "linear_grids"]
