"""The definitions of the networks that come with rlossctl: one file for each, or for each family."""
