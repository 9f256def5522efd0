"""The distribution of a fitted Boltzmann machine: energies, likelihoods, samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.graph import capture
from steepest._runtime.memory import array_namespace, to_device, to_host
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.labels import one_hot_rows
from steepest.estimators.validation import validate
from steepest.fisher import BoltzmannFisher
from steepest.training.sparse_rows import SparseRows

from ._parameters import prefixed
from .boltzmann import exact
from .boltzmann.annealing import annealed_log_partition
from .boltzmann.draws import PhiloxDraws
from .boltzmann.machine import Machine, parts_of

_SMOOTHING = 1.0  # samples of each value that a base rate counts in addition


class BoltzmannDistribution:
    """Mixin of `BernoulliRBM`: what can be asked of a fitted machine."""

    visible: str
    label_units: bool
    device: str
    random_state: Any
    components_: Array
    intercept_hidden_: Array
    intercept_visible_: Array
    label_components_: Array
    intercept_label_: Array
    classes_: Array
    h_samples_: Array

    # -------------------------------------------------------------------------------------------------- energies

    def free_energy(self, X: Any) -> Array:
        """Return the free energy of samples, ``-log sum exp(-E)`` over hidden units and labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            The energies: ``-log p(x) - log Z``.
        """
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=self.components_.dtype)
        return in_library_of(X, self._by_blocks(checked, lambda m, x: m.feature_energy(x)))

    @available_if(lambda model: model.visible == "bernoulli")
    def score_samples(self, X: Any) -> Array:
        """Return the pseudo-likelihood of binary samples, as scikit-learn does.

        One feature of each sample is flipped at random: ``n_features * log sigmoid(F(flipped) - F(x))`` is an estimate
        of the sum of the logarithms of the probability of each feature given all others. For Gaussian units there is
        no such method: `free_energy` compares their samples.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples of zeros and ones.

        Returns
        -------
        ndarray of shape (n_samples,)
            The estimates.
        """
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=self.components_.dtype)
        n, features = checked.shape
        column = check_random_state(self.random_state).randint(0, features, n)
        if scipy.sparse.issparse(checked):
            at = np.asarray(checked[np.arange(n), column]).ravel()
            change = scipy.sparse.csr_matrix((1 - 2 * at, (np.arange(n), column)), checked.shape)
            flipped = (checked + change.astype(checked.dtype)).tocsr()
        else:
            flipped = checked.copy()
            flipped[np.arange(n), column] = 1 - flipped[np.arange(n), column]
        energy, other = (
            to_host(self._by_blocks(x, lambda m, x: m.feature_energy(x))) for x in (checked, flipped)
        )
        return in_library_of(X, -features * np.logaddexp(0, energy - other))

    def reconstruct(self, X: Any) -> Array:
        """Return the means of the features given the means of the hidden units given X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The reconstructions, in the library of X.
        """
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=self.components_.dtype)

        def both(machine: Machine, x: Array) -> Array:
            return machine.features.visible_means(machine.features.hidden_means(x))

        return in_library_of(X, self._by_blocks(checked, both))

    # --------------------------------------------------------------------------------------------------- samples

    def gibbs(self, v: Any) -> Array:
        """Take one step of the Gibbs chain: draw the hidden units given v, and v given these.

        Parameters
        ----------
        v : array-like or sparse matrix of shape (n_samples, n_features)
            States of the features.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            New states: bool for binary units, as in scikit-learn.
        """
        check_is_fitted(self)
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        hidden = self._sample_hiddens(v, self.random_state_)
        return self._sample_visibles(hidden, self.random_state_)

    def sample(
        self, n_samples: int = 1, seed: int = 0, *, n_steps: int = 1000, y: Any = None, means: bool = False
    ) -> Array:
        """Draw samples of the machine, each at the end of a Gibbs chain of its own.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        seed : int, default=0
            Seed of the chains, which begin with random hidden units.
        n_steps : int, default=1000
            Steps of a chain. More bring the samples closer to the distribution of the machine.
        y : class label or array-like of shape (n_samples,), default=None
            Class of each sample, which the chains keep; only with label units.
        means : bool, default=False
            Whether to return the means of the features in the last step instead of a draw.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The samples, in the dtype of the machine.

        Raises
        ------
        ValueError
            If a number is not positive, or y is given without label units, is not a known class or has another length.
        TypeError
            If a number or the seed is no integer.
        """
        check_is_fitted(self)
        name = type(self).__name__
        n_samples, n_steps = (
            checked_integer(name, what, value, low=1, high=2**31)
            for what, value in (("n_samples", n_samples), ("n_steps", n_steps))
        )
        seed = checked_integer(name, "seed", seed)
        device = resolve_device(self.device, type(self).__name__, None)
        machine = self._machine().to(device)
        labels = None if y is None else to_device(self._one_hot(y, n_samples), device)
        draws = PhiloxDraws(seed, device)
        draws.begin()
        empty = to_device(np.zeros((n_samples, 1), machine.weights.dtype), device)
        flat = to_device(np.zeros((1, len(machine.hidden_bias)), machine.weights.dtype), device)
        _, h = K.linear_bernoulli(empty, flat, **draws.next())
        draws.end()
        v = machine.visible_means(h)
        with capture() as graph:
            draws.begin()
            machine.draw_visible(h, draws.next, draws=v)
            if labels is not None:
                K.copy(labels, out=v[:, machine.n_features :])
            machine.draw_hidden(v, draws.next(), draws=h)
            draws.end()
        graph.replay(n_steps)
        result = machine.visible_means(h) if means else v
        return np.ascontiguousarray(to_host(result)[:, : machine.n_features])

    # ----------------------------------------------------------------------------------------------- likelihoods

    def log_partition(self) -> float:
        """Return the exact log Z, by enumeration of a layer of at most 25 units, in float64.

        Returns
        -------
        float
            log Z.

        Raises
        ------
        ValueError
            If the layer has more units: the hidden one, or with binary units and no labels the smaller one.
        """
        check_is_fitted(self)
        try:
            return exact.log_partition(self._machine())
        except ValueError as error:
            raise ValueError(prefixed(self, error)) from None

    def log_likelihood(self, X: Any, log_partition: float | None = None) -> Float64Array:
        """Return ``log p(x)`` of each sample: exact for small machines.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        log_partition : float, default=None
            log Z; by default the exact one. `annealed_log_partition` estimates it for large machines.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Logarithms of probabilities, or of densities for Gaussian units.

        Raises
        ------
        ValueError
            If the machine has too many units for `log_partition`, and none is given.
        """
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=np.dtype(np.float64))
        log_z = self.log_partition() if log_partition is None else log_partition
        energy = self._by_blocks(checked, lambda m, x: m.feature_energy(x), np.float64)
        result: Float64Array = -to_host(energy) - log_z
        return result

    def log_likelihood_gradient(self, X: Any) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the exact gradient of the mean log-likelihood of samples, for small machines without labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        components, intercept_hidden, intercept_visible : ndarray
            The gradient with respect to each parameter, in float64.

        Raises
        ------
        ValueError
            If the machine has too many units, or label units.
        """
        check_is_fitted(self)
        if has_labels(self):
            raise ValueError(prefixed(self, "the gradient is that of a machine without label units"))
        checked = validate(self, X, reset=False, accept_sparse=True, dtype=np.dtype(np.float64))
        x = to_host(checked.toarray() if scipy.sparse.issparse(checked) else checked)
        machine = self._machine().to("cpu", np.float64)
        try:
            _, products, hidden, visible = exact.expectations(machine)
        except ValueError as error:
            raise ValueError(prefixed(self, error)) from None
        means = machine.hidden_means(x)
        # The bias of a Gaussian unit is the centre of |v - b|^2 / 2, so that b cancels between data and model.
        return means.T @ x / len(x) - products.T, means.mean(axis=0) - hidden, x.mean(axis=0) - visible

    def annealed_log_partition(
        self, X: Any = None, *, n_chains: int = 100, n_temperatures: int = 10_000, seed: int = 0
    ) -> tuple[float, float]:
        """Estimate log Z by annealed importance sampling, for machines of any size.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), default=None
            Samples, such as those of the fit. The chains then begin with independent units of their base rates, and
            need fewer temperatures; otherwise they begin with uniform ones.
        n_chains : int, default=100
            Number of independent chains, at least 2.
        n_temperatures : int, default=10000
            Number of temperatures between the beginning and the machine, in equal steps.
        seed : int, default=0
            Seed of the chains.

        Returns
        -------
        estimate, standard_error : float
            The estimate of log Z, and its standard error. It comes from the spread of the chains: if all of them miss
            a mode, both are too small.

        Raises
        ------
        ValueError
            If there are fewer than 2 chains or 1 temperature, or the means of X for binary units are not in [0, 1].
        TypeError
            If a number or the seed is no integer.

        References
        ----------
        R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008.
        """
        check_is_fitted(self)
        name = type(self).__name__
        n_chains = checked_integer(name, "n_chains", n_chains, low=2, high=2**31)
        n_temperatures = checked_integer(name, "n_temperatures", n_temperatures, low=1, high=2**31)
        seed = checked_integer(name, "seed", seed)
        machine = self._machine()
        base = np.zeros(len(machine.weights))
        if X is not None:
            checked = validate(self, X, reset=False, accept_sparse=True)
            base[: machine.n_features] = self._base_rates(checked)
        device = resolve_device(self.device, type(self).__name__, None)
        betas = np.linspace(0.0, 1.0, n_temperatures + 1)
        return annealed_log_partition(machine.to(device), base, betas, n_chains, seed)

    def fisher_matrix(self) -> BoltzmannFisher:
        """Return the exact Fisher matrix of a small machine of binary units, see `steepest.fisher.BoltzmannFisher`."""
        check_is_fitted(self)
        if not self._machine().binary:
            raise ValueError(prefixed(self, "the Fisher matrix needs binary visible units without labels"))
        return BoltzmannFisher(self.components_, self.intercept_hidden_, self.intercept_visible_)

    # ------------------------------------------------------------------------------ methods that scikit-learn has

    def _mean_hiddens(self, v: Any) -> Array:
        rows = v if scipy.sparse.issparse(v) else np.asarray(v, self.components_.dtype)
        if rows.ndim == 1:
            one: Array = self._mean_hiddens(rows[None])[0]
            return one
        return to_host(self._by_blocks(_as_rows(rows), lambda m, x: m.features.hidden_means(x)))  # type: ignore[no-any-return]

    def _sample_hiddens(self, v: Any, rng: np.random.RandomState) -> Array:
        means = self._mean_hiddens(v)
        return rng.uniform(size=means.shape) < means

    def _sample_visibles(self, h: Array, rng: np.random.RandomState) -> Array:
        own = self._machine().features
        means: Array = own.visible_means(np.asarray(h, self.components_.dtype))
        if own.gaussian:
            noise: Array = rng.standard_normal(size=means.shape).astype(means.dtype)
            return means + noise
        return rng.uniform(size=means.shape) < means

    def _free_energy(self, v: Any) -> Array:
        return to_host(self._by_blocks(_as_rows(v), lambda m, x: m.feature_energy(x)))  # type: ignore[no-any-return]

    # ------------------------------------------------------------------------------------------------- internals

    def _machine(self) -> Machine:
        """Return the machine of the fitted attributes, on the host."""
        weights, visible = self.components_.T, self.intercept_visible_
        n_labels = 0
        if hasattr(self, "label_components_"):
            n_labels = len(self.intercept_label_)
            weights = np.concatenate([weights, self.label_components_.T])
            visible = np.concatenate([visible, self.intercept_label_])
        return Machine(weights, self.intercept_hidden_, visible, self._is_gaussian(), n_labels)

    def _is_gaussian(self) -> bool:
        """Whether the visible units are Gaussian: those of the fit, whatever the parameter is now."""
        return bool(self.__dict__.get("_gaussian", self.visible == "gaussian"))

    def _own_machine(self, dtype: Any = None) -> tuple[Machine, Array]:
        """Return a copy of the machine in a dtype, and the flat array of its parameters."""
        own = self._machine().to("cpu", dtype)
        arena = np.concatenate([own.weights.ravel(), own.hidden_bias, own.visible_bias])
        parts = parts_of(arena, *own.weights.shape)
        return Machine(*parts, gaussian=own.gaussian, n_labels=own.n_labels), arena

    def _keep(self, machine: Machine) -> None:
        """Set the attributes that hold the machine."""
        n = machine.n_features
        parts = (machine.weights, machine.hidden_bias, machine.visible_bias)
        dtype = self.h_samples_.dtype
        weights, hidden, visible = (to_host(part).astype(dtype, copy=False) for part in parts)
        self.components_, self.intercept_visible_ = weights[:n].T, visible[:n]
        self.intercept_hidden_ = hidden
        if machine.n_labels:
            self.label_components_, self.intercept_label_ = weights[n:].T, visible[n:]
        else:
            for name in ("label_components_", "intercept_label_", "classes_"):
                vars(self).pop(name, None)

    def _by_blocks(self, X: Any, compute: Callable[[Machine, Array], Array], dtype: Any = None) -> Array:
        """Return a function of the machine and rows for validated samples, on the device of the computation."""
        device = resolve_device(self.device, type(self).__name__, X)
        machine = self._machine().to(device, dtype)
        if not scipy.sparse.issparse(X):
            return compute(machine, to_device(X, device))
        blocks = [compute(machine, block) for _, block in SparseRows(X, device).blocks()]
        return array_namespace(machine.weights).concatenate(blocks)  # type: ignore[no-any-return]

    def _base_rates(self, X: Any) -> Float64Array:
        """Return the biases of independent units with the means of X."""
        means = np.asarray(to_host(X.mean(axis=0)), np.float64).ravel()
        if self._is_gaussian():
            return means
        if not ((means >= 0) & (means <= 1)).all():
            raise ValueError(prefixed(self, "X must be in [0, 1]: the visible units are binary"))
        smooth = (means * X.shape[0] + _SMOOTHING) / (X.shape[0] + 2 * _SMOOTHING)
        rates: Float64Array = np.log(smooth / (1 - smooth))
        return rates

    def _one_hot(self, y: Any, n: int) -> Array:
        if not has_labels(self):
            raise ValueError(prefixed(self, "y needs label units: fit with label_units=True"))
        return one_hot_rows(self, y, n, self.classes_, self.components_.dtype)


def has_labels(model: Any) -> bool:
    """Whether an estimator has label units: after a fit those of the fit, whatever the parameter is now."""
    return hasattr(model, "label_components_") if hasattr(model, "components_") else bool(model.label_units)


def _as_rows(v: Any) -> Any:
    return v.tocsr() if scipy.sparse.issparse(v) else v
