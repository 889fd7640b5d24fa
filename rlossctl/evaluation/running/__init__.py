"""Running models on photos: ONNX Runtime, PyTorch, and reading photos ahead of them."""
