"""Tests between updates: test nets, whole lists, the best of them, pictures of a few photos."""
