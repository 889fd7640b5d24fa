"""A net as an ONNX file: the graph, the steps added before and after it, and precision."""
