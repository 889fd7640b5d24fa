"""What supplies the data layers with batches: one file per kind of source, and the transformations."""
