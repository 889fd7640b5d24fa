"""What can be wrong with a data set, and what it is made of: `data verify` and `data stats`."""
