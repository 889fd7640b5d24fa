"""Shows what a regularized loss does to an image, in pictures and numbers."""

from rlossctl.visualize.gradient import Gradient, measure_gradient, write_pictures
from rlossctl.visualize.modes import Row, format_rows, measure_modes
from rlossctl.visualize.scores import Scored, open_scores
from rlossctl.visualize.terms import DenseCRFTerm, LayersTerm, read_term

__all__ = [
    "DenseCRFTerm",
    "Gradient",
    "LayersTerm",
    "Row",
    "Scored",
    "format_rows",
    "measure_gradient",
    "measure_modes",
    "open_scores",
    "read_term",
    "write_pictures",
]
