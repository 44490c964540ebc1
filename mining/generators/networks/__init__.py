"""The published architectures in plain PyTorch, written from their papers."""
