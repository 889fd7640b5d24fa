"""Drawing weak labels in a browser: a local page, and files that data layers read."""
