"""Fisher information, divergence and sampled scores of distributions whose parameters are a network's outputs.

Each row of z holds the parameters of one distribution.

* ``"categorical"``: a class, with probabilities softmax(z).
* ``"bernoulli"``: labels, with probabilities sigmoid(z).
* ``"gaussian"``: real numbers, with mean z and variance 1.
* ``"gaussian_learned_variance"``: real numbers, with mean mu and variance exp(s); z holds all mu before all s.
* ``"poisson"``: counts, with mean exp(z).

Except for ``"categorical"``, the outputs of a row are independent given z.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["output_divergence", "output_fisher", "sampled_score"]

Distribution: TypeAlias = Literal[
    # kept by hand: type checkers take names from the source
    "categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"
]


def output_fisher(
    z: Array,
    v: Array,
    distribution: Distribution,
    sample_weight: Array | None = None,
    *,
    scale: float = 1.0,
    out: Array | None = None,
) -> Array:
    """Return the product of the Fisher information of a distribution's parameters with a vector, row by row.

    ``out[i] = scale * w[i] / sum(w) * H(z[i]) @ v[i]``, where H is the expected outer product of the scores. A score is
    the gradient of the negative log-likelihood with respect to z. For classes, H is ``diag(p) - p p^T`` with
    ``p = softmax(z)``. Otherwise it is diagonal: ``p (1 - p)`` with ``p = sigmoid(z)`` for labels, 1 for means of unit
    variance, ``exp(-s)`` and 1/2 for means and log-variances, and ``exp(z)`` for counts.

    Except for the Gaussian of learned variance, H is also the Hessian of the negative log-likelihood (J. Martens, "New
    insights and perspectives on the natural gradient method", 2020, section 9.2). Between `linear_tangent` and
    `linear_backward`, this function gives ``J^T H J v``, the product of a network's Fisher matrix with a vector
    (N. N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002).

    Parameters
    ----------
    z : ndarray of shape (n, c)
        Parameters of the distribution.
    v : ndarray of shape (n, c)
        Vectors to multiply, one for each row of z.
    distribution : {"categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"}
        Name of the distribution; see the module's description. Learned variances need an even c.
    sample_weight : ndarray of shape (n,), optional
        Weights w of the rows, 1 by default. A row of weight 0 gives 0, whatever it holds.
    scale : float, default=1.0
        Factor of all products; finite.
    out : ndarray of shape (n, c), optional
        Receives the result; it may be z or v.

    Returns
    -------
    ndarray of shape (n, c)
        The products; 0 if all weights are 0.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.output_fisher(np.zeros((1, 2)), np.array([[1.0, 0.0]]), "categorical")
    array([[ 0.25, -0.25]])
    """
    return backend_of(z).output_fisher(z, v, distribution, sample_weight, scale=scale, out=out)


def output_divergence(
    z: Array,
    w: Array,
    distribution: Distribution,
    sample_weight: Array | None = None,
    *,
    out: Float64Array | None = None,
) -> Float64Array:
    """Return the mean Kullback-Leibler divergence between the distributions of the rows of z and w, in nats.

    ``sum_i s[i] * KL(p(z[i]) || p(w[i])) / sum(s)``, where ``KL(p || q)`` is the expectation of ``log p - log q`` over
    p (S. Kullback, R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22, 1951). For a
    small ``t = w - z``, the divergence is ``t^T H t / 2`` with the H of `output_fisher`. The natural gradient measures
    the squared length of a step by ``t^T H t`` (S. Amari, "Natural gradient works efficiently in learning", Neural
    Computation 10, 1998). The divergence is computed in float64 from t, by formulas without cancellation: no digits
    are lost, however near the two distributions are.

    Parameters
    ----------
    z, w : ndarray of shape (n, c)
        Parameters of the distributions.
    distribution : {"categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"}
        Name of the distribution; see the module's description. Learned variances need an even c. Divergences of
        independent outputs add up.
    sample_weight : ndarray of shape (n,), optional
        Weights s of the rows, 1 by default. A row of weight 0 is ignored, whatever it holds.
    out : 0-d float64 ndarray, optional
        Receives the result.

    Returns
    -------
    0-d float64 ndarray
        The mean divergence: not negative, and 0 if all weights are 0. It is infinite only if it exceeds the range of
        float64, or w gives probability 0 to an outcome that is possible under z.

    Raises
    ------
    ValueError
        If there are no rows or no columns; see also the package's conventions.
    TypeError
        See the package's conventions.

    Notes
    -----
    Items of z and w that are the same infinity contribute no difference. A class with the logit ``-inf`` has
    probability 0. Other differences ``w - z`` must lie within the range of float64.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> z = np.zeros((1, 1))
    >>> float(K.output_divergence(z, z + 1e-9, "bernoulli"))  # p (1 - p) / 2 times the square
    1.25e-19
    """
    return backend_of(z).output_divergence(z, w, distribution, sample_weight, out=out)


def sampled_score(
    z: Array, distribution: Distribution, *, seed: int, stream: int | Int64Array, out: Array | None = None
) -> Array:
    """Sample an observation from each row's distribution, and return its score.

    The score is the gradient of the negative log-likelihood with respect to z: ``softmax(z) - onehot(class)``,
    ``sigmoid(z) - label``, ``z - number``, ``exp(z) - count``, and for learned variances ``(mu - number) * exp(-s)``
    and ``(1 - (mu - number)**2 * exp(-s)) / 2``. The mean of the score is 0, and the mean of its outer product is the
    Fisher information of z (`output_fisher`). Backpropagated through a network, scores give unbiased Monte Carlo
    estimates of the network's Fisher matrix.

    A sample depends only on `seed`, `stream`, z and the number of the item (for classes, of the row). It is the same
    for every layout, dtype, number of threads and device. The exception is a random number so close to a boundary
    between two outcomes that the rounding of z decides.

    Parameters
    ----------
    z : ndarray of shape (n, c)
        Parameters of the distribution.
    distribution : {"categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"}
        Name of the distribution; see the module's description. Learned variances need an even c.
    seed : int
        Seed of the random numbers, in 0..2**64-1.
    stream : int in 0..2**64-1, or 0-d int64 ndarray
        Streams of one seed give independent samples. With a scalar array, a captured step samples anew in each replay.
    out : ndarray of shape (n, c), optional
        Receives the result; it may be z.

    Returns
    -------
    ndarray of shape (n, c)
        The scores.

    Raises
    ------
    ValueError
        If `seed` or `stream` is outside 0..2**64-1; see also the package's conventions.
    TypeError
        See the package's conventions.

    Notes
    -----
    Classes, and counts with a mean below 10, are sampled by inversion of the distribution function. Other counts are
    sampled by transformed rejection (W. Hörmann, "The transformed rejection method for generating Poisson random
    variables", Insurance: Mathematics and Economics 12, 1993), and above a mean of 2**50 from the normal distribution.
    Normal numbers come from the Box-Muller method, which reaches 6.7 standard deviations.
    """
    return backend_of(z).sampled_score(z, distribution, seed=seed, stream=stream, out=out)
