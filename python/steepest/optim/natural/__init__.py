"""Natural-gradient descent, which solves with the Fisher matrix of a network in each step."""
