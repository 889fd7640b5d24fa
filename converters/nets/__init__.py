"""The net to convert: opened with its weights, or implied by them."""
