"""Code that several estimator modules use: checks of data, choice of the device, training loops."""
