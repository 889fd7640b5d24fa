"""The data sets that rlossctl knows: one file for each, with everything about it.

A new file that calls `registry.data_set` or `registry.register` is found automatically.
"""
