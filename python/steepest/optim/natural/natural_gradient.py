"""Natural-gradient descent: steps preconditioned by the inverse Fisher matrix of a network's parameters."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from steepest._cpu import DivergenceError
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import assign
from steepest.fisher import FisherMatrix
from steepest.fisher._joint_loss import Losses, Targets, apart, joint_loss, side_by_side
from steepest.fisher._layout import layout_of, require_no_capture
from steepest.fisher._likelihoods import likelihood_of
from steepest.fisher._options import Kind, SolverName, Split, StructureName, require_known
from steepest.fisher._solvers import NotPositiveDefiniteError
from steepest.fisher._structures import require_factors
from steepest.nn import Network
from steepest.nn.inputs import Inputs, as_inputs

from .batch_objective import BatchLoss, L2Penalty, QuadraticModel
from .curvature import LEAST_DAMPING, Curvature
from .running_statistics import kept_statistics, updated_statistics
from .state import ResumableNaturalGradient
from .step_diagnostics import StepDiagnostics
from .step_rules import MOMENTUM_RULES, LastStep, NaturalStep, bounded

TrustRegion = Literal["clip", "ball", "line_search"]
MomentumRuleName = Literal["step", "gradient", "model", "spring"]

# Levenberg-Marquardt rule: reduction ratios below and above which the damping changes, and the factor of the change.
# Source: J. Martens, "Deep learning via Hessian-free optimization", 2010.
_POOR, _GOOD, _FACTOR = 0.25, 0.75, 1.5
# Factor by which a rejected step raises the damping.
_REJECTED = 4.0
# Factor by which a step that raises the loss of the next batch raises the damping.
_WORSE = 2.25
# Changes of the loss below this multiple of eps * |loss| are rounding errors.
_LOSS_EPSILONS = 8.0
# Most steps that a line search tries; each is half of the one before.
_MOST_HALVINGS = 10


class NaturalGradient(ResumableNaturalGradient):
    """Natural-gradient descent, ``theta -= lr (F + damping I)^-1 g``, with the Fisher matrix F of the batches.

    Among all steps of the same divergence KL(p(theta) || p(theta + d)), the step along ``F^-1 g`` lowers the loss most,
    to first order. It minimises ``g^T d + (d^T F d / 2 - c) / lr``, where 1 / lr is the Lagrange multiplier of the ball
    of divergence c (S. Amari, "Natural gradient works efficiently in learning", 1998).

    By default the damping adapts itself, so that no learning rate needs to be tuned. By default F uses only the current
    batch, which suits full-batch training. For mini-batches, average F over the batches (`factor_decay`), and compute
    its inverse only every few steps (`inverse_period`).

    Parameters
    ----------
    net : Network
        The network to train, of layers that `steepest.fisher.FisherMatrix` supports.
    loss : Loss, or tuple of Loss
        The negative log-likelihood of a distribution: a loss that `steepest.fisher.FisherMatrix` supports, or for a
        network of several outputs a tuple with a loss for each.
    lr : float, default=1.0
        Learning rate: the factor of the natural gradient in a step, in (0, inf).
    damping : float, default=1.0
        The number that is added to the diagonal of F, in [0, inf).
    split : {"pi", "even"} or None, default=None
        For K-FAC: how the damping is split between the two factors of a layer, see `FisherMatrix.inverse`. Inverses
        then use Cholesky factors instead of eigenvectors, which takes about a tenth of the time.
    kind : {"exact", "monte_carlo", "empirical"}, default="exact"
        Type of the Fisher matrix.
    structure : {"dense", "block", "kfac", "ekfac", "diagonal"}, default="kfac"
        Structure of the Fisher matrix that is inverted. The quadratic model of a step always uses the exact matrix of
        its batch, whatever the kind and the structure are.
    solver : {"auto", "cholesky", "gram", "cg"}, default="auto"
        Solver for the dense structure; see `FisherMatrix`.
    adapt_damping : bool or None, default=None
        Whether the damping follows the reduction ratio (J. Martens, "Deep learning via Hessian-free optimization",
        2010). It is multiplied by 3/2 after a step whose ratio is below 1/4. It is divided by 3/2, but not below 1e-8,
        after a step whose ratio is above 3/4 and that was not clipped. It is multiplied by 9/4 after a step that raises
        the loss of the next batch. A step that raises the loss of its own batch is rejected. None stands for `certify`.
    inverse_damping : float or None, default=None
        For ``momentum_rule="model"``: the number that is added to F before it is inverted. `damping` then applies
        only to the quadratic model, and soon decays to nearly 0. The inverse needs more damping: small eigenvalues of
        averaged Monte Carlo factors are noise, and inverting them gives the largest steps.
    kl_clip : float or None, default=None
        The largest divergence of a step, in nats per row; None for no bound.
    trust_region : {"clip", "ball", "line_search"}, default="clip"
        How `kl_clip` bounds a step. ``"clip"`` shortens steps of a larger predicted divergence to the bound. ``"ball"``
        gives every step the predicted divergence `kl_clip`: the Lagrange multiplier of the ball replaces `lr`.
        ``"line_search"`` starts with the step of the ball, and halves it until its measured divergence is within the
        bound and the loss is lower (J. Schulman et al., "Trust region policy optimization", 2015).
    momentum : float, default=0.0
        Strength of the momentum, in [0, 1).
    momentum_rule : {"step", "gradient", "model", "spring"}, default="step"
        How earlier steps enter the next one. ``"step"`` adds `momentum` times the last step. ``"gradient"`` takes the
        natural gradient of an exponential average of the gradients with the decay `momentum`; the average begins with
        0, so that the first steps are short. ``"model"`` ignores `momentum` and `lr`: it takes the combination of the
        natural gradient and the last step that minimises the quadratic model of the batch (Martens and Grosse, 2015,
        §7). ``"spring"`` solves ``(F + damping I) x = g + damping momentum x_last``, where x_last is the last natural
        gradient (SPRING: G. Goldshlager, N. Abrahamsen, L. Lin, 2024).
    factor_decay : float, default=0.0
        Decay of the exponential average of F over the batches, in [0, 1). Batch k has at least the weight 1 / k. With
        0, F is that of the last batch.
    factor_period, inverse_period : int, default=1
        Number of steps from one batch that joins the average to the next, and from one inverse to the next. In the
        first `inverse_period` steps, while the average holds few batches, every step computes the inverse.
    burn_in : int, default=0
        Number of first batches that only join the average, without a step.
    l2 : float, default=0.0
        Strength of the L2 penalty ``l2 / 2 * sum(w**2)`` on the weights, not on the biases.
    certify : bool, default=True
        Whether steps compute their full diagnostics, which takes about as long as the steps. Without, only the losses
        before and after the step are computed; the quadratic model is evaluated only where the loss rises.
    seed : int, default=0
        Seed of the targets that the kind ``"monte_carlo"`` samples; each step uses another stream.

    Attributes
    ----------
    damping : float
        The damping as it was given, or as it has been adapted.
    diagnostics : StepDiagnostics or None
        Diagnostics of the last step.
    output : ndarray of shape (n, c) or None
        Output of the network for the last batch, before the step and without dropout; several stand side by side.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range, a name is unknown, options exclude one another, `FisherMatrix` does not support
        `net` or `loss`, or the network has frozen parameters.

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
        loss: Losses,
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
                    f"[NaturalGradient] inverse_damping requires momentum_rule='model', got {momentum_rule!r}"
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
        # A loss or a layer without a Fisher matrix is refused here, not in the first step.
        layout = layout_of(net)
        likelihood_of(joint_loss(loss, layout.widths), layout.n_outputs)
        require_factors(layout, structure)
        self.net, self.damping = net, damping
        self.loss = tuple(loss) if isinstance(loss, (list, tuple)) else loss
        self._require_nothing_frozen()
        self.kind, self.solver, self.momentum_rule = kind, solver, momentum_rule
        self.adapt_damping, self.inverse_damping = adapt_damping, inverse_damping
        self.kl_clip, self.trust_region = kl_clip, trust_region
        self.burn_in, self.l2, self.certify = burn_in, l2, certify
        self.seed = checked_integer("NaturalGradient", "seed", seed)
        self.diagnostics: StepDiagnostics | None = None
        self.output: Array | None = None
        self._steps = 0
        # The damping as given, while rejected steps have raised it for a while; only without adapt_damping.
        self._settled: float | None = None
        # Parameters before the last step, and the loss of its batch after it; None where it was rejected.
        self._last_taken: tuple[Array, float] | None = None
        self._curvature = Curvature(structure, split, factor_decay, factor_period, inverse_period)
        self._rule = MOMENTUM_RULES[momentum_rule](lr, momentum)

    def step(self, X: Inputs, y: Targets, sample_weight: Array | None = None) -> StepDiagnostics:
        """Take a step on a batch; one more forward pass first updates the running averages of batch norms, if any.

        Parameters
        ----------
        X : ndarray of shape (n, n_in), or tuple of ndarray
            Inputs; a tuple for a network of several inputs.
        y : ndarray, or tuple of ndarray
            Targets, as the loss takes them; a tuple for a network of several outputs.
        sample_weight : ndarray of shape (n,), default=None
            Weights of the rows, of the network's dtype.

        Returns
        -------
        StepDiagnostics
            The diagnostics of the step. If the step is rejected, the parameters stay as they were, and the damping
            is raised.

        Raises
        ------
        ValueError, TypeError
            If X, y or the weights are not as described, or parameters are frozen; nothing has changed then.
        DivergenceError
            If the loss of the batch is not finite before the step; nothing has changed then.
        RuntimeError
            If a graph is being captured.
        """
        require_no_capture(
            "NaturalGradient.step", "call it outside of the block, as often as there are steps"
        )
        self._require_nothing_frozen()
        with updated_statistics(self.net, X):
            return self._step(X, y, sample_weight)

    def _step(self, X: Inputs, y: Targets, sample_weight: Array | None) -> StepDiagnostics:
        """Take a step with the running statistics as they are."""
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
        loss = BatchLoss(self.net, self._joint_loss, self._penalty, X, y, sample_weight, value)
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

    def _solved(self, whole: FisherMatrix, d: Array, loss: BatchLoss) -> StepDiagnostics:
        """Solve for the step, and take it; d is the gradient with respect to the output."""
        rule, curvature = self._rule, self._curvature
        if self.inverse_damping is None:
            self.damping, raises = curvature.invert(self.damping, self.l2)
        else:
            _, raises = curvature.invert(self.inverse_damping, self.l2)
        natural = whole.solution_for_own_gradient(curvature.damping) if self._needs_no_gradient else None
        gradient: Array | None = None
        if natural is None or self.certify:
            gradient = self._gradient(whole, d, loss)
            right = rule.right_side(gradient, curvature.damping)
            natural = curvature.solve(right) if natural is None else natural
        else:
            right = natural  # this momentum rule uses neither the right side nor the gradient
        full = step = rule.step(
            right if gradient is None else gradient, natural, whole, self.damping + self.l2
        )
        if self.kl_clip is not None:
            step = bounded(full, whole, self.kl_clip, self.trust_region != "clip")
        residual = curvature.residual(right, natural) if self.certify else math.nan
        model = QuadraticModel(
            self._penalty,
            whole,
            step,
            lambda: self._gradient(whole, d, loss) if gradient is None else gradient,
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
        model: QuadraticModel,
        loss: BatchLoss,
        residual: float,
        raises: int,
        *,
        was_clipped: bool,
    ) -> tuple[StepDiagnostics, NaturalStep]:
        """Take the step, the first of its halvings that is accepted, or none; return the diagnostics and the step."""
        before, searches = self.net.arena.copy(), self.trust_region == "line_search"
        for halvings in range(_MOST_HALVINGS if searches else 1):
            factor = 0.5**halvings
            shorter = model.step.times(factor)
            try:
                self._add(shorter.move)
                after, outputs = loss.after()
                # If the loss has fallen, the quadratic model is not needed.
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
        # A change within the rounding error of the loss tells nothing about the damping.
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

    def _judge_last_step(self, loss: BatchLoss) -> None:
        """Raise the damping if the last step, computed on another batch, raised the loss of this batch.

        A step to the minimum of a small batch always lowers the loss of that batch, even where it raises all others.
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
        return _LOSS_EPSILONS * float(np.finfo(self.net.dtype).eps) * abs(loss)

    # --------------------------------------------------------------------------------------------------- internals

    def _reject(self, *, raise_damping: bool = True) -> None:
        """Make the next step shorter, by more damping and a fresh inverse."""
        if raise_damping:
            if not self.adapt_damping and self._settled is None:
                self._settled = self.damping
            self.damping = max(self.damping, LEAST_DAMPING) * _REJECTED
        self._curvature.reject()

    @property
    def _needs_no_gradient(self) -> bool:
        """Whether `solve_for_own_gradient` can solve for the step, from the batch's scores and without the gradient."""
        return (
            self.kind == "empirical"
            and self._curvature.is_of_one_batch
            and type(self._rule) is LastStep
            and self._curvature.damping > 0
            and not (self.l2 or self.net.draws)
        )

    def _loss_before(
        self, whole: FisherMatrix, y: Targets, sample_weight: Array | None
    ) -> tuple[float, Array]:
        """Return the penalised loss without dropout, and the gradient of the loss with respect to the output."""
        value, d = self._joint_loss(whole.output, y, sample_weight)
        total = float(value) + self._penalty.now()
        if not math.isfinite(total):
            raise DivergenceError(f"[NaturalGradient] the loss of the batch is {total} before the step")
        return total, d

    def _gradient(self, whole: FisherMatrix, d: Array, loss: BatchLoss) -> Array:
        """Return the gradient of the penalised loss, with dropout, as a flat array on the device."""
        if self.net.draws:
            with kept_statistics(self.net):
                outputs = side_by_side(self.net.forward(*as_inputs(loss.X)))
            _, d = self._joint_loss(outputs, loss.y, loss.sample_weight)
            widths = whole.layout.widths
            self.net.backward(apart(d, widths) if len(widths) > 1 else d)
            gradient = whole.layout.gathered([p.grad for p in self.net.parameters()])
        else:
            gradient = whole.gradient_of(d)
        if self.l2:
            gradient += self._penalty.gradient(whole.layout)
        return gradient

    @property
    def _joint_loss(self) -> Any:
        return joint_loss(self.loss, layout_of(self.net).widths)

    @property
    def _penalty(self) -> L2Penalty:
        return L2Penalty(self.net, self.l2)

    def _add(self, move: Array) -> None:
        start = 0
        for p in self.net.parameters():
            value = p.value
            value += move[start : start + value.size].reshape(value.shape)
            start += value.size
