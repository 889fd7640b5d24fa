"""Work in parts: which photos a process takes, and files that say what came of them."""
