"""From a model's outputs to predictions: protocols, rules, a dense CRF, files."""
