"""The natural gradient: steps of equal divergence instead of equal length."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from steepest import kernels as K
from steepest._cpu import DivergenceError
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import assign, to_device, to_host
from steepest.fisher import FisherMatrix
from steepest.fisher._layout import Layout, dot, require_no_capture
from steepest.fisher._likelihoods import likelihood_of
from steepest.fisher._matrix import Kind, SolverName, Split, StructureName, require_known
from steepest.fisher._solvers import NotPositiveDefiniteError, solve_for_own_gradient
from steepest.nn import Loss, Network

from ._curvature import LEAST_DAMPING, Curvature
from ._step_rules import MOMENTUM_RULES, LastStep, NaturalStep, bounded

TrustRegion = Literal["clip", "ball", "line_search"]
MomentumRuleName = Literal["step", "gradient", "model", "spring"]

# Levenberg's and Marquardt's rule, with the factors of J. Martens, "Deep learning via Hessian-free optimization", 2010.
_POOR, _GOOD, _FACTOR = 0.25, 0.75, 1.5
# Factor by which a rejected step raises the damping.
_REJECTED = 4.0
# Factor by which a step that raises the loss of the next batch raises the damping.
_WORSE = 2.25
# Changes of a loss below this multiple of its rounding say nothing.
_ROUNDINGS_OF_LOSS = 8.0
# Halvings of a step in a line search.
_MOST_HALVINGS = 10


@dataclass(frozen=True)
class StepDiagnostics:
    """What a step was expected to do, and what it did; nan where the optimizer was told not to find out.

    Attributes
    ----------
    loss, new_loss : float
        Of the batch, with the penalty, before and after the step; the same where it was rejected.
    predicted : float
        Change of the loss by the quadratic model ``g^T d + d^T F d / 2``, with the exact Fisher matrix of the batch.
    ratio : float
        The actual change divided by the predicted one, 1 where the model is exact; nan where nothing was predicted.
    predicted_kl, kl : float
        Divergence of the distributions after the step from those before it, in nats a row: by ``d^T F d / 2``, and as
        computed from the outputs.
    residual : float
        Of the equations that were solved for the step, ``|(F + damping I) x - g| / |g|``, with the averaged matrix and
        an inverse that may be some steps old.
    damping : float
        What was added to the diagonal of the matrix that was inverted.
    length : float
        What the natural gradient was multiplied by; 0 in the burn-in.
    accepted : bool
        Whether the step was taken. It is not where the loss became infinite or NaN, rose by more than `predicted`, or
        at all with `adapt_damping` or where a fall was predicted, or no factorisation was found.
    raises : int
        How often the damping had to be raised for a matrix to be factorised.
    """

    loss: float
    new_loss: float = math.nan
    predicted: float = math.nan
    ratio: float = math.nan
    predicted_kl: float = math.nan
    kl: float = math.nan
    residual: float = math.nan
    damping: float = math.nan
    length: float = 0.0
    accepted: bool = True
    raises: int = 0


class NaturalGradient:
    """Natural-gradient descent, ``theta -= lr (F + damping I)^-1 g``, with the Fisher matrix F of the batches.

    Of all steps of the same divergence KL(p(theta) || p(theta + d)), the one along ``F^-1 g`` lowers the loss most, as
    far as its first derivative tells: the minimum of ``g^T d + (d^T F d / 2 - c) / lr``, with a multiplier 1 / lr for
    the ball of divergence c (S. Amari, "Natural gradient works efficiently in learning", 1998).

    With no option, the damping adapts itself, so that no rate needs to be tuned. For mini-batches, average F over them
    (`factor_decay`), and form its inverse now and then (`inverse_period`): by default F is that of each batch alone,
    which suits steps with all samples.

    Parameters
    ----------
    net : Network
        To train, as for `steepest.fisher.FisherMatrix`.
    loss : Loss
        The negative log-likelihood of a distribution, as there.
    lr : float, default=1.0
        Length of the step, in (0, inf).
    damping : float, default=1.0
        Added to the diagonal of F; not negative.
    split : {"pi", "even"} or None, default=None
        For K-FAC: the damping is split onto its two factors, see `FisherMatrix.inverse`. Inverses then take Cholesky
        factors instead of eigenvectors, about a tenth of the time.
    kind : {"exact", "monte_carlo", "empirical"}, default="exact"
        Of the Fisher matrix.
    structure : {"dense", "block", "kfac", "ekfac", "diagonal"}, default="kfac"
        Of the Fisher matrix that is solved with. What a step is expected to do is computed with the exact matrix of its
        batch, whatever the kind and the structure are.
    solver : {"auto", "cholesky", "gram", "cg"}, default="auto"
        Of the dense structure; see `FisherMatrix`.
    adapt_damping : bool or None, default=None
        Whether damping grows by 3/2 after a step whose ratio is below 1/4, and shrinks by 2/3, but not below 1e-8,
        after one above 3/4 that was not clipped (J. Martens, "Deep learning via Hessian-free optimization", 2010); it
        grows by 9/4 after a step that raises the loss of the next batch, and steps that raise the loss of their own
        are rejected. None stands for `certify`.
    inverse_damping : float or None, default=None
        For ``momentum_rule="model"``: what is added to F where it is inverted, in place of `damping`, which then is of
        the quadratic model alone. The model is made with the exact matrix of the batch, and soon needs no damping; an
        average of drawn factors has eigenvalues that are mere noise, which an inverse turns into the longest steps.
    kl_clip : float or None, default=None
        The largest divergence of a step, in nats a row.
    trust_region : {"clip", "ball", "line_search"}, default="clip"
        What is done with `kl_clip`: steps of a larger predicted divergence are shortened to it; or every step has it,
        the multiplier of the ball's Lagrangian being solved for in place of `lr`; or the step of the ball is halved
        until its measured divergence is within it and the loss is lower (J. Schulman et al., "Trust region policy
        optimization", 2015).
    momentum : float, default=0.0
        In [0, 1).
    momentum_rule : {"step", "gradient", "model", "spring"}, default="step"
        What momentum is: the share of the last step that is added to the next; the decay of an average of gradients, of
        which the natural gradient is taken, and which begins with 0, so that the first steps are short; or, without
        regard to `momentum` and `lr`, the sum of the natural gradient and the last step that minimises the quadratic
        model of the batch (Martens and Grosse, 2015, §7); or the share of the last natural gradient that the equations
        are damped towards, ``(F + damping I) x = g + damping momentum x_last`` (SPRING: G. Goldshlager, N. Abrahamsen,
        L. Lin, 2024).
    factor_decay : float, default=0.0
        Of the average of F over the batches, in [0, 1): batch k has at least the weight 1 / k. Of 0, there is none.
    factor_period, inverse_period : int, default=1
        Steps from one batch that joins the average to the next, and from one inverse to the next. While an average is
        of few batches, in its first `inverse_period` steps, each step has an inverse of its own.
    burn_in : int, default=0
        Batches at the beginning that only join the average.
    l2 : float, default=0.0
        Strength of an L2 penalty ``l2 / 2 * sum(w**2)`` of the weights, not of the biases.
    certify : bool, default=True
        Whether steps compute their full diagnostics, which takes about as long as they do. Without, the losses
        before and after the step are all that is known, unless the loss rises: then the quadratic model is asked.
    seed : int, default=0
        Of the observations that the kind ``"monte_carlo"`` draws, another for each step.

    Attributes
    ----------
    damping : float
        As given, or as it has been adapted.
    diagnostics : StepDiagnostics or None
        Of the last step.
    output : ndarray of shape (n, c) or None
        What the network gave for the last batch, before the step and without dropout.

    Raises
    ------
    ValueError, TypeError
        A number or a name is out of range, options exclude one another, or net and loss are not as of `FisherMatrix`.

    References
    ----------
    J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn, optim
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> y = (X.sum(axis=1) > 0).astype(np.int64)
    >>> net = nn.Network([nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)], dtype=np.float64)
    >>> opt = optim.NaturalGradient(net, nn.SoftmaxCrossEntropy())
    >>> losses = [opt.step(X, y).loss for _ in range(20)]
    >>> bool(losses[-1] < 0.1 * losses[0])
    True
    """

    def __init__(
        self,
        net: Network,
        loss: Loss,
        lr: float = 1.0,
        *,
        damping: float = 1.0,
        split: Split | None = None,
        kind: Kind = "exact",
        structure: StructureName = "kfac",
        solver: SolverName = "auto",
        adapt_damping: bool | None = None,
        inverse_damping: float | None = None,
        kl_clip: float | None = None,
        trust_region: TrustRegion = "clip",
        momentum: float = 0.0,
        momentum_rule: MomentumRuleName = "step",
        factor_decay: float = 0.0,
        factor_period: int = 1,
        inverse_period: int = 1,
        burn_in: int = 0,
        l2: float = 0.0,
        certify: bool = True,
        seed: int = 0,
    ) -> None:
        self._require("lr", lr, 0.0, math.inf, open_below=True)
        self._require("damping", damping, 0.0, math.inf)
        self._require("momentum", momentum, 0.0, 1.0)
        self._require("factor_decay", factor_decay, 0.0, 1.0)
        self._require("l2", l2, 0.0, math.inf)
        if kl_clip is not None:
            self._require("kl_clip", kl_clip, 0.0, math.inf, open_below=True)
        require_known(
            "NaturalGradient",
            kind=(kind, Kind),
            structure=(structure, StructureName),
            solver=(solver, SolverName),
            trust_region=(trust_region, TrustRegion),
            momentum_rule=(momentum_rule, MomentumRuleName),
        )
        for what, count, least in (
            ("factor_period", factor_period, 1),
            ("inverse_period", inverse_period, 1),
            ("burn_in", burn_in, 0),
        ):
            if count < least:
                raise ValueError(f"[NaturalGradient] {what} is {count}: it must be at least {least}")
        if trust_region != "clip" and kl_clip is None:
            raise ValueError(f"[NaturalGradient] trust_region={trust_region!r} takes a bound: pass kl_clip")
        adapt_damping = certify if adapt_damping is None else adapt_damping
        if not certify and (adapt_damping or trust_region == "line_search"):
            raise ValueError(
                "[NaturalGradient] adapt_damping and the line search need step diagnostics: leave certify=True"
            )
        if inverse_damping is not None:
            self._require("inverse_damping", inverse_damping, 0.0, math.inf)
            if momentum_rule != "model":
                raise ValueError(
                    "[NaturalGradient] inverse_damping requires momentum_rule='model', whose quadratic model has the "
                    f"damping to itself, got {momentum_rule!r}"
                )
        if split is not None:
            require_known("NaturalGradient", split=(split, Split))
            inverted = damping if inverse_damping is None else inverse_damping
            if structure != "kfac" or inverted == 0:
                raise ValueError(
                    f"[NaturalGradient] split={split!r} takes structure='kfac' and a positive damping, "
                    f"got {structure!r} and {inverted}"
                )
        if not isinstance(net, Network):
            raise TypeError(f"[NaturalGradient] net must be a Network, got {type(net).__name__}")
        # What has no Fisher matrix is refused here, not in the first step.
        likelihood_of(loss, Layout(net).layers[-1][1])
        self.net, self.loss, self.damping = net, loss, damping
        self.kind, self.solver, self.momentum_rule = kind, solver, momentum_rule
        self.adapt_damping, self.inverse_damping = adapt_damping, inverse_damping
        self.kl_clip, self.trust_region = kl_clip, trust_region
        self.burn_in, self.l2, self.certify = burn_in, l2, certify
        self.seed = checked_integer("NaturalGradient", "seed", seed)
        self.diagnostics: StepDiagnostics | None = None
        self.output: Array | None = None
        self._steps = 0
        # Damping that is not adapted, while rejected steps have raised it.
        self._settled: float | None = None
        # Parameters before the last step, and the loss of its batch after it; None where it was rejected.
        self._last_taken: tuple[Array, float] | None = None
        self._curvature = Curvature(structure, split, factor_decay, factor_period, inverse_period)
        self._rule = MOMENTUM_RULES[momentum_rule](lr, momentum)

    @property
    def lr(self) -> float:
        """What natural gradients are multiplied by."""
        return self._rule.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._require("lr", value, 0.0, math.inf, open_below=True)
        self._rule.lr = value

    def step(self, X: Array, y: Array, sample_weight: Array | None = None) -> StepDiagnostics:
        """Take a step on a batch.

        Parameters
        ----------
        X : ndarray of shape (n, n_in)
            Inputs.
        y : ndarray
            Targets, as of the loss.
        sample_weight : ndarray of shape (n,), default=None
            Weights of the rows, of the network's dtype.

        Returns
        -------
        StepDiagnostics
            What the step did. The parameters are those from before it where it was not accepted; the damping is raised
            then.

        Raises
        ------
        ValueError, TypeError
            X, y or the weights are not as described; nothing has changed then.
        DivergenceError
            The loss of the batch is not finite before the step; nothing has changed then.
        RuntimeError
            A graph is being captured.
        """
        require_no_capture(
            "NaturalGradient.step", "call it outside of the block, as often as there are steps"
        )
        whole = FisherMatrix(
            self.net,
            self.loss,
            X,
            y,
            kind=self.kind,
            solver=self.solver,
            seed=(self.seed + self._steps) % 2**64,
            sample_weight=sample_weight,
        )
        value, d = self._loss_before(whole, y, sample_weight)
        self._steps += 1
        self.output = whole.output
        loss = _BatchLoss(self, X, y, sample_weight, value)
        if self.adapt_damping:
            self._judge_last_step(loss)
        try:
            self._curvature.join(whole)
            if self._steps <= self.burn_in:
                self.diagnostics = StepDiagnostics(value, value, damping=self.damping)
            else:
                self.diagnostics = self._solved(whole, d, loss)
        except NotPositiveDefiniteError:
            self._curvature.restart()
            self._rule.rejected()
            self.diagnostics = StepDiagnostics(value, value, damping=self.damping, accepted=False)
        return self.diagnostics

    def _solved(self, whole: FisherMatrix, d: Array, loss: _BatchLoss) -> StepDiagnostics:
        """Solve for the step, and take it; d is the gradient with respect to the output."""
        rule, curvature, batch = self._rule, self._curvature, whole._batch
        if self.inverse_damping is None:
            self.damping, raises = curvature.invert(self.damping, self.l2)
        else:
            _, raises = curvature.invert(self.inverse_damping, self.l2)
        natural = self._solution_by_samples(whole) if self._needs_no_gradient else None
        gradient: Array | None = None
        if natural is None or self.certify:
            gradient = self._gradient(whole, d, loss)
            right = rule.right_side(gradient, curvature.damping)
            natural = curvature.solve(right) if natural is None else natural
        else:
            right = natural  # the rule does not look at it, nor at the gradient
        full = step = rule.step(
            right if gradient is None else gradient, natural, batch, self.damping + self.l2
        )
        if self.kl_clip is not None:
            step = bounded(full, batch, self.kl_clip, whole.scale, self.trust_region != "clip")
        residual = curvature.residual(right, natural) if self.certify else math.nan
        model = _QuadraticModel(
            self, whole, step, lambda: self._gradient(whole, d, loss) if gradient is None else gradient
        )
        done, step = self._taken(whole, model, loss, residual, raises, was_clipped=step is not full)
        if done.accepted:
            rule.taken(natural, step)
            if self._settled is not None:
                self.damping, self._settled = self._settled, None
        else:
            rule.rejected()
        return done

    def _taken(
        self,
        whole: FisherMatrix,
        model: _QuadraticModel,
        loss: _BatchLoss,
        residual: float,
        raises: int,
        *,
        was_clipped: bool,
    ) -> tuple[StepDiagnostics, NaturalStep]:
        """Take the step, or shorter ones until one is good, or none; return what there is to say, and the step."""
        before, searches = self.net.arena.copy(), self.trust_region == "line_search"
        for halvings in range(_MOST_HALVINGS if searches else 1):
            factor = 0.5**halvings
            shorter = model.step.times(factor)
            try:
                self._add(shorter.move)
                after, outputs = loss.after()
                # With a loss that has fallen there is no need to ask the model.
                asks = self.certify or loss.before < after < math.inf
                predicted = model.change(factor) if asks else math.nan
                accepted, kl = self._is_allowed(loss.before, after, predicted), math.nan
                if accepted and self.certify:
                    kl = whole.divergence(outputs)
                    accepted = not searches or kl <= (self.kl_clip or 0.0)
            except BaseException:  # Ctrl-C too
                assign(self.net.arena, before)
                raise
            if accepted:
                break
            assign(self.net.arena, before)
        ratio = (after - loss.before) / predicted if predicted else math.nan
        # A change that is lost in the roundings of the loss says nothing of the damping.
        is_lost = after == loss.before or abs(predicted) <= self._rounding(loss.before)
        says_nothing = math.isfinite(after) and is_lost
        if not accepted:
            self._reject(raise_damping=not says_nothing)
        elif self.adapt_damping and math.isfinite(ratio) and not says_nothing:
            if ratio < _POOR:
                self.damping = max(self.damping, LEAST_DAMPING) * _FACTOR
            elif ratio > _GOOD and self.damping > LEAST_DAMPING and not was_clipped:
                self.damping /= _FACTOR
        self._last_taken = (before, after) if accepted and self.adapt_damping else None
        diagnostics = StepDiagnostics(
            loss.before,
            after if accepted else loss.before,
            predicted,
            ratio,
            model.divergence(factor) if self.certify else math.nan,
            kl if accepted else math.nan,
            residual,
            self._curvature.tikhonov,
            shorter.length,
            accepted,
            raises,
        )
        return diagnostics, shorter

    def _judge_last_step(self, loss: _BatchLoss) -> None:
        """Raise the damping where the last step has raised the loss of this batch, which it was not made for.

        A step to the minimum of a small batch always does well on it, whatever becomes of all others.
        """
        if self._last_taken is None:
            return
        parameters, after = self._last_taken
        if abs(loss.before - after) <= self._rounding(after):
            return  # the same batch
        now = self.net.arena.copy()
        try:
            assign(self.net.arena, parameters)
            earlier, _ = loss.after()
        finally:
            assign(self.net.arena, now)
        if loss.before > earlier:
            self.damping = max(self.damping, LEAST_DAMPING) * _WORSE

    def _is_allowed(self, before: float, after: float, predicted: float) -> bool:
        """Return whether a step may be taken: the loss may rise by what its model predicts, or not at all."""
        if not after < math.inf:
            return False
        if self.adapt_damping or self.trust_region == "line_search":
            return after <= before
        return after <= before or after - before <= max(predicted, 0.0) + self._rounding(before)

    def _rounding(self, loss: float) -> float:
        return _ROUNDINGS_OF_LOSS * float(np.finfo(self.net.dtype).eps) * abs(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: what is adapted, averaged and remembered from step to step.

        Returns
        -------
        dict
            Numbers, and lists of NumPy arrays, by name.
        """
        last = self._rule.last
        return {
            "rule": type(self).__name__,
            "structure": self._curvature.structure,
            "momentum_rule": self.momentum_rule,
            "lr": self.lr,
            "damping": self.damping,
            "settled": self._settled,
            "seed": self.seed,
            "steps": self._steps,
            "last": [] if last is None else [np.array(to_host(last))],
            "taken": []
            if self._last_taken is None
            else [np.array(to_host(self._last_taken[0])), self._last_taken[1]],
            **self._curvature.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Parameters
        ----------
        state : mapping
            Of a natural gradient with the same structure and momentum rule, for a network of the same shapes.

        Raises
        ------
        ValueError
            The state is that of another optimizer, or incomplete; nothing is changed then. Averages for layers of other
            shapes are found with the next step.
        """
        if state.get("rule") != type(self).__name__:
            raise ValueError(f"[NaturalGradient] cannot load the state of {state.get('rule')}")
        for name, own in (("structure", self._curvature.structure), ("momentum_rule", self.momentum_rule)):
            if state.get(name) != own:
                raise ValueError(
                    f"[NaturalGradient] the state is that of {name}={state.get(name)!r}, not {own!r}"
                )
        size = sum(p.value.size for p in self.net.parameters())
        if any(np.shape(array) != (size,) for array in state.get("last", ())):
            raise ValueError(
                f"[NaturalGradient] the state is that of another network than one of {size} parameters"
            )
        try:
            lr, damping = float(state["lr"]), float(state["damping"])
            seed, steps = operator.index(state["seed"]), operator.index(state["steps"])
            last = [np.array(array).astype(self.net.dtype, casting="same_kind") for array in state["last"]]
            self._require("lr", lr, 0.0, math.inf, open_below=True)
            self._require("damping", damping, 0.0, math.inf)
            settled = None if state.get("settled") is None else float(state["settled"])
            taken = self._as_taken(state.get("taken", ()))
            self._curvature.restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"[NaturalGradient] the state is incomplete or damaged: {error!r}") from error
        self.lr, self.damping = lr, damping
        self.seed, self._steps = seed, steps
        self._settled, self._last_taken = settled, taken
        self._rule.last = to_device(last[0], self.net.device) if last else None

    def __deepcopy__(self, memo: dict[int, Any]) -> NaturalGradient:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # An inverse is a function, which no pickle holds: the next step makes it anew of what `state_dict` keeps.
        made_anew = ("_curvature", "_rule", "output")
        return {
            "options": {name: value for name, value in vars(self).items() if name not in made_anew},
            "curvature": self._curvature.options,
            "momentum": self._rule.momentum,
            "state": self.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["options"])
        self.output = None
        self._curvature = Curvature(*state["curvature"])
        self._rule = MOMENTUM_RULES[self.momentum_rule](state["state"]["lr"], state["momentum"])
        self.load_state_dict(state["state"])

    def _as_taken(self, saved: Sequence[Any]) -> tuple[Array, float] | None:
        """Return what a state says of the last step: the parameters before it, and the loss after it."""
        if not len(saved):
            return None
        parameters, after = saved
        array = np.array(parameters).astype(self.net.dtype, casting="same_kind")
        if array.shape != self.net.arena.shape:
            raise ValueError(f"parameters of the shape {array.shape}")
        return to_device(array, self.net.device), float(after)

    # --------------------------------------------------------------------------------------------------- internals

    def _reject(self, *, raise_damping: bool = True) -> None:
        """Let the next step be a shorter one, with an inverse of its own."""
        if raise_damping:
            if not self.adapt_damping and self._settled is None:
                self._settled = self.damping
            self.damping = max(self.damping, LEAST_DAMPING) * _REJECTED
        self._curvature.reject()

    @property
    def _needs_no_gradient(self) -> bool:
        """Whether the step follows from the scores of the batch, of which the gradient is a combination."""
        return (
            self.kind == "empirical"
            and self._curvature.is_of_one_batch
            and type(self._rule) is LastStep
            and self._curvature.damping > 0
            and not (self.l2 or self.net.draws)
        )

    def _solution_by_samples(self, whole: FisherMatrix) -> Array | None:
        if whole._chosen_solver() != "gram":
            return None
        roots = np.sqrt(whole.scale * whole._batch.shares)
        return solve_for_own_gradient(whole._batch.factors, roots, self._curvature.damping)

    def _loss_before(self, whole: FisherMatrix, y: Array, sample_weight: Array | None) -> tuple[float, Array]:
        """Return the penalised loss without dropout, and the gradient of the loss with respect to the output."""
        value, d = self.loss(whole.output, y, sample_weight)
        total = float(value) + self._penalty(self._values)
        if not math.isfinite(total):
            raise DivergenceError(f"[NaturalGradient] the loss of the batch is {total} before the step")
        return total, d

    def _gradient(self, whole: FisherMatrix, d: Array, loss: _BatchLoss) -> Array:
        """Return the gradient of the penalised loss, with dropout, flat on the device."""
        if self.net.draws:
            _, d = self.loss(self.net.forward(loss.X), loss.y, loss.sample_weight)
            self.net.backward(d)
            gradient = whole._layout.gathered([p.grad for p in self.net.parameters()])
        else:
            gradient = whole._batch.gradient_of(d)
        if self.l2:
            theta = whole._layout.gathered(self._values)
            gradient += self.l2 * self._without_biases(theta)
        return gradient

    @property
    def _values(self) -> list[Array]:
        return [p.value for p in self.net.parameters()]

    def _penalty(self, tensors: list[Array]) -> float:
        """Return half of l2 times the sum of squares of those of these tensors that are weights."""
        if not self.l2:
            return 0.0
        named = zip(self.net.parameters(), tensors, strict=True)
        return 0.5 * self.l2 * sum(float(K.sum_squares(a)) for p, a in named if p.name.endswith("weight"))

    def _without_biases(self, flat: Array) -> Array:
        """Write zeros in the place of biases, which no penalty is on."""
        start = 0
        for p in self.net.parameters():
            if not p.name.endswith("weight"):
                flat[start : start + p.value.size] = 0
            start += p.value.size
        return flat

    def _add(self, move: Array) -> None:
        start = 0
        for p in self.net.parameters():
            value = p.value
            value += move[start : start + value.size].reshape(value.shape)
            start += value.size

    def _require(self, name: str, value: float, low: float, high: float, *, open_below: bool = False) -> None:
        if not (low < value < high or (value == low and not open_below)):
            bracket = "(" if open_below else "["
            raise ValueError(f"[NaturalGradient] {name} must be in {bracket}{low:g}, {high:g}), got {value}")


@dataclass
class _QuadraticModel:
    """What the step ``d`` of a batch does to its penalised loss: ``g^T d + d^T F d / 2``, with the exact F."""

    optimizer: NaturalGradient
    whole: FisherMatrix
    step: NaturalStep
    gradient: Callable[[], Array]

    @cached_property
    def slope(self) -> float:
        """``g^T d``; the gradient is asked for no sooner."""
        return dot(self.gradient(), self.step.move)

    def change(self, factor: float) -> float:
        """Return the predicted change of the loss by a multiple of the step."""
        tensors = self.whole._layout.tensors(self.step.move)
        curved = self.step.curvature_on(self.whole._batch) + 2.0 * self.optimizer._penalty(tensors)
        return factor * self.slope + 0.5 * factor**2 * curved

    def divergence(self, factor: float) -> float:
        """Return the predicted divergence of a multiple of the step, in nats a row."""
        return 0.5 * factor**2 * self.step.curvature_on(self.whole._batch) / self.whole.scale


@dataclass
class _BatchLoss:
    """The penalised loss of a batch, before and after a step."""

    optimizer: NaturalGradient
    X: Array
    y: Array
    sample_weight: Array | None
    before: float

    def after(self) -> tuple[float, Array]:
        """Return the loss of the present parameters, infinite where it is not finite, and their outputs."""
        outputs = self.optimizer.net.predict(self.X)
        try:
            value = float(self.optimizer.loss(outputs, self.y, self.sample_weight)[0])
        except FloatingPointError:  # a kernel found that it is not finite
            return math.inf, outputs
        return value + self.optimizer._penalty(self.optimizer._values), outputs
