"""Label images from other programs' annotations, and annotations from predictions."""
