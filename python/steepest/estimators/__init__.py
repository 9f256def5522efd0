"""Code that several estimators share: validation of data, choice of the device, training loops."""
