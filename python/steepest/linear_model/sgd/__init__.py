"""Stochastic gradient descent of linear models: a step for each sample, or captured steps of mini-batches."""
