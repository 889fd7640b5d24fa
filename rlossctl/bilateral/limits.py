"""What the kernels can take; known without torch."""

MAX_FEATURES = 6  # dimensions of the filter of points
