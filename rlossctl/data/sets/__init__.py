"""The data sets that rlossctl knows: one file for each, with everything about it.

A file here that calls `registry.data_set` or `registry.register` is found by itself.
"""
