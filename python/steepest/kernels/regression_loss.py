"""Losses of real numbers and of counts, with their gradients."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of

__all__ = [
    "absolute_error",
    "epsilon_insensitive",
    "gaussian",
    "huber",
    "log_cosh",
    "poisson",
    "quantile",
    "squared_epsilon_insensitive",
    "squared_error",
]


def squared_error(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    half: bool = False,
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
    *,
    reduction: str = "mean",
) -> tuple[Float64Array, Array]:
    """Return the squared error of a mini-batch, and its gradient, in one pass.

    With the loss ``l_ij = s * (z_ij - t_ij)**2`` of prediction z and target t, s = 1 or 1/2 for the half-quadratic
    form, ``loss = sum_i w_i l_i / sum_i w_i``, where l_i is the mean or the sum of l_ij over the outputs j. It is the
    negative log-likelihood of a Gaussian of fixed variance.

    Parameters
    ----------
    prediction : ndarray of shape (n, m)
        Predictions z.
    target : ndarray of shape (n, m)
        Targets t.
    sample_weight : ndarray of shape (n,), optional
        Weights w. A row of weight 0 counts for nothing, whatever it holds.
    half : bool
        Whether the error is halved.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_prediction : ndarray of shape (n, m), optional
        Receives the gradient; it may be `prediction`.
    reduction : {"mean", "sum"}
        What becomes of the losses of a row's outputs. Rows are averaged in either case.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in squared units of the target; 0 where all weights are 0.
    d_prediction : ndarray of shape (n, m)
        Its gradient with respect to the predictions.

    Raises
    ------
    TypeError, ValueError
        An empty batch, and as in the package's conventions.
    """
    return backend_of(prediction).pointwise_loss(
        "squared_error", prediction, target, sample_weight, None, half, reduction, loss, d_prediction
    )


def absolute_error(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the absolute error of a mini-batch, ``l = |z - t|``, and its gradient ``sign(z - t)``, 0 where z = t.

    It is the negative log-likelihood of a Laplace distribution of fixed width, in units of the target. Parameters,
    results and errors are those of `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "absolute_error", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def huber(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    delta: float = 1.0,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return Huber's loss of a mini-batch, and its gradient, an error clipped to ±delta.

    ``l = e**2 / 2`` for an error ``e = z - t`` of at most `delta`, ``delta * (abs(e) - delta / 2)`` beyond: half the
    squared error for small errors, in proportion to the absolute error for outliers. P. J. Huber, "Robust estimation
    of a location parameter", Annals of Mathematical Statistics 35 (1964).

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Predictions z and targets t.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    delta : float
        Above 0, in units of the target.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in squared units of the target.
    d_prediction : ndarray of shape (n, m)
        Its gradient.

    Raises
    ------
    TypeError, ValueError
        A `delta` that is not above 0, and as `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "huber", prediction, target, sample_weight, delta, False, reduction, loss, d_prediction
    )


def epsilon_insensitive(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    epsilon: float = 0.1,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the epsilon-insensitive loss of a mini-batch, ``l = max(0, |z - t| - epsilon)``, and its gradient.

    The loss of support-vector regression: errors up to `epsilon` count for nothing. The gradient is ``sign(z - t)``
    beyond, 0 within. V. Vapnik, "The nature of statistical learning theory", 1995.

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Predictions z and targets t.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    epsilon : float
        Above 0, in units of the target.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in units of the target.
    d_prediction : ndarray of shape (n, m)
        Its gradient.

    Raises
    ------
    TypeError, ValueError
        An `epsilon` that is not above 0, and as `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "epsilon_insensitive",
        prediction,
        target,
        sample_weight,
        epsilon,
        False,
        reduction,
        loss,
        d_prediction,
    )


def squared_epsilon_insensitive(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    epsilon: float = 0.1,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return ``l = max(0, |z - t| - epsilon)**2`` of a mini-batch, and its gradient.

    The gradient is ``2 * max(0, |z - t| - epsilon) * sign(z - t)``. Parameters, results and errors are those of
    `epsilon_insensitive`, but that the loss is in squared units of the target.
    """
    return backend_of(prediction).pointwise_loss(
        "squared_epsilon_insensitive",
        prediction,
        target,
        sample_weight,
        epsilon,
        False,
        reduction,
        loss,
        d_prediction,
    )


def log_cosh(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the log-cosh loss of a mini-batch, ``l = log(cosh(z - t))``, and its gradient ``tanh(z - t)``.

    It is half the squared error near 0, and the absolute error less log(2) far from it: a smooth relative of Huber's
    loss, which has no parameter. Parameters, results and errors are those of `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "log_cosh", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def quantile(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    quantile: float = 0.5,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the quantile (pinball) loss of a mini-batch, and its gradient.

    ``l = q * (t - z)`` where z < t, ``(1 - q) * (z - t)`` where z > t: of constant predictions, the q-quantile of the
    targets is best. The gradient is -q, 1 - q, or 0 where z = t. R. Koenker, G. Bassett, "Regression quantiles",
    Econometrica 46 (1978).

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Predictions z and targets t.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    quantile : float
        q, between 0 and 1. For 1/2 the loss is half the absolute error.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in units of the target.
    d_prediction : ndarray of shape (n, m)
        Its gradient.

    Raises
    ------
    TypeError, ValueError
        A `quantile` that is not between 0 and 1, and as `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "quantile", prediction, target, sample_weight, quantile, False, reduction, loss, d_prediction
    )


def poisson(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the Poisson loss of a mini-batch, ``l = exp(z) - t * z``, and its gradient ``exp(z) - t``.

    It is the negative log-likelihood of counts t whose mean is exp(z) (log link), without log(t!), which does not
    depend on the prediction. It may be negative. Targets are not negative, and need not be whole. Parameters, results
    and errors are those of `squared_error`.
    """
    return backend_of(prediction).pointwise_loss(
        "poisson", prediction, target, sample_weight, None, False, reduction, loss, d_prediction
    )


def gaussian(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    reduction: str = "mean",
    loss: Float64Array | None = None,
    d_prediction: Array | None = None,
) -> tuple[Float64Array, Array]:
    """Return the loss of a Gaussian whose mean and variance are both predicted, and its gradient.

    ``l = (s + (t - mu)**2 * exp(-s)) / 2`` is the negative log-likelihood of t under the mean mu and the variance
    exp(s), without log(2 pi) / 2. It may be negative, and falls without bound where s falls to minus infinity at a
    mean that fits exactly: nothing is clamped. The gradient is ``(mu - t) * exp(-s)`` for mu and ``(1 - (t - mu)**2 *
    exp(-s)) / 2`` for s. D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target probability
    distribution", ICNN 1994.

    Parameters
    ----------
    prediction : ndarray of shape (n, 2 m)
        The means mu in columns 0 to m - 1, the log-variances s in columns m to 2 m - 1.
    target : ndarray of shape (n, m)
        Targets t.
    sample_weight : ndarray of shape (n,), optional
        Weights of the rows. A row of weight 0 counts for nothing, whatever it holds.
    reduction : {"mean", "sum"}
        What becomes of the losses of a row's targets. Rows are averaged in either case.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_prediction : ndarray of shape (n, 2 m), optional
        Receives the gradient; it may be `prediction`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss in nats; 0 where all weights are 0.
    d_prediction : ndarray of shape (n, 2 m)
        Its gradient, in the order of `prediction`.

    Raises
    ------
    TypeError, ValueError
        An empty batch, and as in the package's conventions.
    """
    return backend_of(prediction).gaussian(prediction, target, sample_weight, reduction, loss, d_prediction)
