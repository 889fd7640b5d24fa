"""Figures for readers: the table in a terminal and the page with pictures."""
