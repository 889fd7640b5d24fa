"""Says what happens in a training: figures, log lines, curves, what is watched."""
