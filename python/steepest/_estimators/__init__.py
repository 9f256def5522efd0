"""What the estimators of all modules share: checking of data, the choice of the device, the training loops."""
