"""scikit-learn's own tests of the estimators that this package has too, run on those of this package."""
