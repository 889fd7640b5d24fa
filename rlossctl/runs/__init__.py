"""Training runs compared: settings, best scores, curves."""
