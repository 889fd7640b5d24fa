"""Runs models on photos with ONNX Runtime or PyTorch, and reads photos ahead of them."""
