"""The steps of benchmarks/gpu.py: what each does, how it runs, what the report says of it."""
