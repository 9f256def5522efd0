"""Models in files: what a model's state is, how tensors are stored, and `save` and `load`."""
