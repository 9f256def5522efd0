"""Saving of models: the state of a model, the file format of its tensors, and `save` and `load`."""
