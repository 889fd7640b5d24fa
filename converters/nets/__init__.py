"""The net that is converted: opened with its weights, or implied by them."""
