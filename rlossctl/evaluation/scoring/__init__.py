"""From predictions to figures: counts, scores, their intervals, states and shards of them."""
