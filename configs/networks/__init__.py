"""The definitions of the networks that come with rlossctl: one file per network or family."""
