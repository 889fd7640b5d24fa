"""A net as an ONNX file: the graph, what is put before and behind it, and precision."""
