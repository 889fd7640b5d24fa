"""The common layer types without their arithmetic: what `inspect` needs, and what layers derive from.

One file per family, named like the family's in `rlossctl.layers`; a file registers its types with
`rlossctl.net.registry.describe`. No torch here.
"""
