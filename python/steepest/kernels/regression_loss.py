"""Regression losses for real numbers and counts, with their gradients."""

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

    The loss of prediction z and target t is ``l_ij = s * (z_ij - t_ij)**2``, with s = 1/2 if `half`, else 1. The loss
    of the batch is ``sum_i w_i l_i / sum_i w_i``, where l_i is the mean or sum of l_ij over the outputs j. Up to a
    constant, it is the negative log-likelihood of a Gaussian with fixed variance.

    Parameters
    ----------
    prediction : ndarray of shape (n, m)
        Predictions z.
    target : ndarray of shape (n, m)
        Targets t.
    sample_weight : ndarray of shape (n,), optional
        Weights w of the rows. A row of weight 0 is ignored, whatever it holds.
    half : bool
        Whether the error is halved.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_prediction : ndarray of shape (n, m), optional
        Receives the gradient; it may be `prediction`.
    reduction : {"mean", "sum"}
        Reduction of the losses of a row's outputs; rows are always averaged.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in squared units of the target; 0 if all weights are 0.
    d_prediction : ndarray of shape (n, m)
        Gradient of the loss with respect to the predictions.

    Raises
    ------
    TypeError, ValueError
        If the batch is empty; see also the package's conventions.
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

    Up to a constant, the loss is the negative log-likelihood of a Laplace distribution of fixed width. It is in units
    of the target. Parameters, results and errors are those of `squared_error`.
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
    """Return the Huber loss of a mini-batch, and its gradient, the error clipped to ±delta.

    With the error ``e = z - t``, ``l = e**2 / 2`` where ``abs(e) <= delta``, and ``delta * (abs(e) - delta / 2)``
    beyond. The loss is half the squared error for small errors, and grows linearly for outliers. P. J. Huber, "Robust
    estimation of a location parameter", Annals of Mathematical Statistics 35 (1964).

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Predictions z and targets t.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    delta : float
        Error from which the loss is linear, above 0, in units of the target.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in squared units of the target.
    d_prediction : ndarray of shape (n, m)
        Gradient of the loss with respect to the predictions.

    Raises
    ------
    TypeError, ValueError
        If `delta` is not above 0; otherwise as in `squared_error`.
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

    It is the loss of support-vector regression, which ignores errors up to `epsilon`. The gradient is ``sign(z - t)``
    for larger errors, and 0 otherwise. V. Vapnik, "The nature of statistical learning theory", 1995.

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Predictions z and targets t.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    epsilon : float
        Largest error without loss, above 0, in units of the target.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in units of the target.
    d_prediction : ndarray of shape (n, m)
        Gradient of the loss with respect to the predictions.

    Raises
    ------
    TypeError, ValueError
        If `epsilon` is not above 0; otherwise as in `squared_error`.
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
    """Return the squared epsilon-insensitive loss, ``l = max(0, |z - t| - epsilon)**2``, and its gradient.

    The gradient is ``2 * max(0, |z - t| - epsilon) * sign(z - t)``. The loss is in squared units of the target. Other
    parameters, results and errors are those of `epsilon_insensitive`.
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

    The loss approaches half the squared error near z = t, and the absolute error minus log(2) for large errors. It is
    similar to the Huber loss, but smooth and without a parameter. Parameters, results and errors are those of
    `squared_error`.
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

    ``l = q * (t - z)`` where z < t, and ``(1 - q) * (z - t)`` where z > t. The constant prediction of least loss is the
    q-quantile of the targets. The gradient is -q where z < t, 1 - q where z > t, and 0 where z = t. R. Koenker,
    G. Bassett, "Regression quantiles", Econometrica 46 (1978).

    Parameters
    ----------
    prediction, target : ndarray of shape (n, m)
        Predictions z and targets t.
    sample_weight : ndarray of shape (n,), optional
        As in `squared_error`.
    quantile : float
        The quantile q, between 0 and 1. For q = 1/2, the loss is half the absolute error.
    reduction, loss, d_prediction
        As in `squared_error`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss, in units of the target.
    d_prediction : ndarray of shape (n, m)
        Gradient of the loss with respect to the predictions.

    Raises
    ------
    TypeError, ValueError
        If `quantile` is not between 0 and 1; otherwise as in `squared_error`.
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

    The loss is the negative log-likelihood of counts t with mean exp(z) (log link), without log(t!), which does not
    depend on the prediction. It may be negative. Targets must not be negative, and need not be whole. Parameters,
    results and errors are those of `squared_error`.
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
    """Return the Gaussian negative log-likelihood for a predicted mean and variance, and its gradient.

    ``l = (s + (t - mu)**2 * exp(-s)) / 2`` is the negative log-likelihood of t under the mean mu and the variance
    exp(s), without log(2 pi) / 2. The loss may be negative. If the mean fits exactly, it falls without bound with s,
    since the variance is not clamped. The gradient is ``(mu - t) * exp(-s)`` for mu and
    ``(1 - (t - mu)**2 * exp(-s)) / 2`` for s. D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target
    probability distribution", ICNN 1994.

    Parameters
    ----------
    prediction : ndarray of shape (n, 2 m)
        The means mu in columns 0 to m - 1, the log-variances s in columns m to 2 m - 1.
    target : ndarray of shape (n, m)
        Targets t.
    sample_weight : ndarray of shape (n,), optional
        Weights of the rows. A row of weight 0 is ignored, whatever it holds.
    reduction : {"mean", "sum"}
        Reduction of the losses of a row's targets; rows are always averaged.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_prediction : ndarray of shape (n, 2 m), optional
        Receives the gradient; it may be `prediction`.

    Returns
    -------
    loss : 0-d float64 ndarray
        The loss in nats; 0 if all weights are 0.
    d_prediction : ndarray of shape (n, 2 m)
        Gradient of the loss, in the order of `prediction`.

    Raises
    ------
    TypeError, ValueError
        If the batch is empty; see also the package's conventions.
    """
    return backend_of(prediction).gaussian(prediction, target, sample_weight, reduction, loss, d_prediction)
