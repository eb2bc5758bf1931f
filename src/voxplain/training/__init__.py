"""Training loops for small networks, on tensors already prepared."""
