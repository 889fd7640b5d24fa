"""Data sets as people download them, brought into the layout that the prototxts expect."""
