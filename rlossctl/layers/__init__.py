"""The layer families, one file each. A file registers its types with `rlossctl.net.registry.register`."""
