"""Distributions whose parameters are a network's outputs, a row of z each.

* ``"categorical"``: classes of probabilities softmax(z).
* ``"bernoulli"``: labels of probabilities sigmoid(z).
* ``"gaussian"``: numbers of mean z and variance 1.
* ``"gaussian_learned_variance"``: numbers of mean mu and variance exp(s), where z holds all mu before all s.
* ``"poisson"``: counts of mean exp(z).

Outputs are independent given z, but for the classes.
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

    ``out[i] = scale * w[i] / sum(w) * H(z[i]) @ v[i]``, where H is the expected outer product of the scores, the
    gradients of the negative log-likelihood with respect to z: ``diag(p) - p p^T`` with ``p = softmax(z)`` for
    classes; otherwise diagonal, ``p (1 - p)`` with ``p = sigmoid(z)`` for labels, 1 for means of unit variance,
    ``exp(-s)`` and 1/2 for means and log-variances, and ``exp(z)`` for counts. For all but the Gaussian of learned
    variance that is also the Hessian of the negative log-likelihood (J. Martens, "New insights and perspectives on the
    natural gradient method", 2020, section 9.2). Between `linear_tangent` and `linear_backward` it makes ``J^T H J v``,
    the product of a network's Fisher matrix with a vector (N. N. Schraudolph, "Fast curvature matrix-vector products
    for second-order gradient descent", 2002).

    Parameters
    ----------
    z : ndarray of shape (n, c)
        Parameters of the distribution.
    v : ndarray of shape (n, c)
        What is multiplied.
    distribution : {"categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"}
        See the module's description; an even c for learned variances.
    sample_weight : ndarray of shape (n,), optional
        Weights w of the rows, all 1 without. A row of weight 0 gives 0, whatever it holds.
    scale : float, default=1.0
        Before all rows; finite.
    out : ndarray of shape (n, c), optional
        Receives the result; it may be z or v.

    Returns
    -------
    ndarray of shape (n, c)
        The products; 0 where all weights are 0.

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
    """Return the mean over the rows of the divergence of one row's distribution from another's, in nats.

    ``sum_i s[i] * KL(p(z[i]) || p(w[i])) / sum(s)``, where ``KL(p || q)`` is the expectation of ``log p - log q`` over
    p (S. Kullback, R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22, 1951). For a
    small ``t = w - z`` it is half of ``t^T H t``, with the H of `output_fisher`: the square of the length by which the
    natural gradient measures a step (S. Amari, "Natural gradient works efficiently in learning", Neural Computation
    10, 1998). It is computed in float64 from t, in forms in which nothing cancels: no digits are lost, however near
    the two distributions are.

    Parameters
    ----------
    z, w : ndarray of shape (n, c)
        Parameters of the distributions.
    distribution : {"categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"}
        See the module's description; an even c for learned variances. The divergences of outputs that are independent
        add up.
    sample_weight : ndarray of shape (n,), optional
        Weights s of the rows, all 1 without. A row of weight 0 counts for nothing, whatever it holds.
    out : 0-d float64 ndarray, optional
        Receives the result.

    Returns
    -------
    0-d float64 ndarray
        The mean divergence: not negative, 0 where all weights are 0, and infinite only where it exceeds the range of
        float64, or w excludes what z does not.

    Raises
    ------
    ValueError
        There are no rows or no columns; and see the package's conventions.
    TypeError
        See the package's conventions.

    Notes
    -----
    Items of z and w that are the same infinity are those of the same distribution; a class of the logit ``-inf`` is
    excluded. Differences ``w - z`` are to be within the range of float64.

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
    """Draw an observation from each row's distribution, and return the gradient of its negative log-likelihood.

    With respect to z: ``softmax(z) - onehot(class)``, ``sigmoid(z) - label``, ``z - number``, ``exp(z) - count``, and
    for learned variances ``(mu - number) * exp(-s)`` and ``(1 - (mu - number)**2 * exp(-s)) / 2``. Its mean over many
    draws is 0, and that of its outer product the Fisher information of z (`output_fisher`): passed back through a
    network it gives unbiased estimates of the network's Fisher matrix.

    What is drawn depends on `seed`, `stream`, the number of the item, or of the row for classes, and z alone: it is the
    same for every layout, dtype and number of threads, and on every device, but where a number that is drawn lies as
    close to a boundary as z is rounded.

    Parameters
    ----------
    z : ndarray of shape (n, c)
        Parameters of the distribution.
    distribution : {"categorical", "bernoulli", "gaussian", "gaussian_learned_variance", "poisson"}
        See the module's description; an even c for learned variances.
    seed : int
        In 0..2**64-1.
    stream : int in 0..2**64-1, or 0-d int64 ndarray
        Each stream of a seed gives draws that are independent of the others'. A scalar array lets a captured step
        draw anew in each replay.
    out : ndarray of shape (n, c), optional
        Receives the result; it may be z.

    Returns
    -------
    ndarray of shape (n, c)
        The scores.

    Raises
    ------
    ValueError
        `seed` or `stream` is outside 0..2**64-1; and see the package's conventions.
    TypeError
        See the package's conventions.

    Notes
    -----
    Classes and counts of means below 10 are drawn by the inverse of the distribution function, other counts by
    transformed rejection (W. Hörmann, "The transformed rejection method for generating Poisson random variables",
    Insurance: Mathematics and Economics 12, 1993), and from the normal distribution where the mean exceeds 2**50;
    normal numbers by the method of Box and Muller, up to 6.7 standard deviations.
    """
    return backend_of(z).sampled_score(z, distribution, seed=seed, stream=stream, out=out)
