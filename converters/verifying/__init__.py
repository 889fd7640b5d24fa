"""The comparison that every converted file must pass, and `rlossctl verify` for any two models."""
