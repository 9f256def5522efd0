"""Solvers of linear models, which know arrays and objectives and no estimator."""
