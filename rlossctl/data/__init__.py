"""Lists, images, labels, transforms and preparation: numpy and pillow only, no torch in this room."""
