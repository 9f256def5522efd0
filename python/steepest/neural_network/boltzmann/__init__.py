"""Boltzmann machines as arrays: their distributions, chains, and training; no estimators."""
