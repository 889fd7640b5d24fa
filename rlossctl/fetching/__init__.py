"""Fetching data sets and weights: what there is, transfers that go on where they broke off, checks."""
