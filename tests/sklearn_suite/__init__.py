"""scikit-learn's own tests, run on this package's classes of the same names."""
