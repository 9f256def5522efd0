"""What generative networks have in common: samples that may be images, layers from sizes, and the loop of a fit."""
