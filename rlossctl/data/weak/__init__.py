"""Weak labels: scribbles, clicks and boxes from full masks, and from the files that people publish."""
