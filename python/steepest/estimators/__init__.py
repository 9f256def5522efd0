"""Code that several estimators share: checks of data, labels and weights, and the choice of the device."""
