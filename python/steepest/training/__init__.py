"""Training of networks and linear models: batches of rows, what is done with each, and the loop over epochs.

No module here knows an architecture or an estimator.
"""
