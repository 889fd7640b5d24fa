"""Turns predictions into figures: counts, scores, intervals, saved states and shards."""
