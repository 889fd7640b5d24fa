"""The comparison that every converted file must pass, also used by `rlossctl verify` for any two models."""
