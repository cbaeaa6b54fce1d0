"""ONNX graphs: adopting a user's, and the gradient twin with its rules. Never torch."""
