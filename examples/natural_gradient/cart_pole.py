"""
Balancing a pole by the natural policy gradient
===============================================

A pole stands on a cart, which is pushed to the left or to the right fifty times a second. An episode ends when the pole
has tilted by more than 12°, or after 500 pushes; its return is the number of pushes. A policy is a small network that
predicts the probability of each push in a state. It is a categorical distribution, and so has a Fisher matrix.

The policy gradient is the mean of the scores of the pushes, weighted by their advantages: the return after a push minus
the return that the state predicts [#williams]_. A good step length in parameters is hard to choose, since the same step
hardly changes one policy and makes another one nearly deterministic. The natural gradient measures steps in divergences
[#kakade]_. It goes along F⁻¹g to the boundary of the ball ½ dᵀFd = δ. From there it halves the step until the
divergence itself is at most δ, and the step has increased the probabilities of pushes with an advantage [#schulman]_.

.. [#williams] R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
   learning", Machine Learning 8, 1992.
.. [#kakade] S. Kakade, "A natural policy gradient", NIPS 2001.
.. [#schulman] J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel, "Trust region policy optimization", ICML 2015.
"""

import gymnasium  # pip install gymnasium
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import log_softmax

from steepest import fisher, nn
from steepest.linear_model import LinearRegression

plt.style.use("petroff10")
N_EPISODES = 16  # episodes with each policy
N_STEPS = 50
DELTA = 0.01  # bound of the divergence of a step, in nats
loss = nn.SoftmaxCrossEntropy()


def play(net, rng, seed, n_episodes=N_EPISODES):
    """Play episodes in parallel; return states, pushes and a mask of valid entries, each of shape (time, episode)."""
    environment = gymnasium.make_vec("CartPole-v1", n_episodes, vectorization_mode="vector_entry_point")
    state, _ = environment.reset(seed=seed)
    within, history = np.ones(n_episodes, bool), []
    while within.any():
        state = state.astype(np.float64)
        logits = net.predict(state)
        push = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        history.append((state, push, within))
        state, _, fallen, timed_out, _ = environment.step(push)
        within = within & ~(fallen | timed_out)
    environment.close()
    return (np.stack(part) for part in zip(*history, strict=True))


def advantages(states, within):
    """Standardised discounted returns of the pushes, minus the prediction of a regression on state and time."""
    returns = np.zeros(within.shape)
    following = np.zeros(within.shape[1])
    for time in reversed(range(len(within))):
        following = returns[time] = (1 + 0.99 * following) * within[time]
    time = np.nonzero(within)[0] / 500
    X = np.column_stack([states[within], states[within] ** 2, time, time**2, time**3])
    left = returns[within] - LinearRegression().fit(X, returns[within]).predict(X)
    return (left - left.mean()) / left.std()


def parameters(net):
    return np.concatenate([p.value.ravel() for p in net.parameters()])


def set_parameters(net, theta):
    for p in net.parameters():
        p.value[...] = theta[: p.value.size].reshape(p.value.shape)
        theta = theta[p.value.size :]


# %%
# The rows of ``fisher.score`` are the derivatives of −log p(push | state). Their mean, weighted by the advantages, is
# the gradient of the objective, which both rules use. The gain of a short step is the mean advantage over the same
# states, with each push weighted by its new probability over the old one.


def natural_step(net, F, g, gain):
    """Step to the boundary of the ball, and halve the step until the divergence is within DELTA and there is a gain."""
    theta, direction = parameters(net), -F.solve(g, damping=1e-3)
    step = direction * np.sqrt(2 * DELTA / (direction @ (F @ direction)))
    for halvings in range(10):
        set_parameters(net, theta + step / 2**halvings)
        divergence, gained = gain()
        if divergence <= DELTA and gained > 0:
            return
    set_parameters(net, theta)


def plain_step(lr):
    return lambda net, F, g, gain: set_parameters(net, parameters(net) - lr * g)


def train(rule):
    """The mean return of every policy, and its divergence from the next policy."""
    rng = np.random.default_rng(0)
    net = nn.Network([nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)], seed=0, dtype=np.float64)
    returns, divergences = [], []
    for step in range(N_STEPS):
        states, pushes, within = play(net, rng, seed=step)
        returns.append(within.sum(axis=0).mean())
        X, push, advantage = states[within], pushes[within], advantages(states, within)
        F = fisher.FisherMatrix(net, loss, X)
        g = fisher.score(net, loss, X, push).T @ advantage / len(X)
        taken = np.arange(len(X)), push
        likely = log_softmax(F.output, axis=1)[taken]

        def gain(F=F, X=X, taken=taken, likely=likely, advantage=advantage):
            outputs = net.predict(X)
            ratio = np.exp(log_softmax(outputs, axis=1)[taken] - likely)
            return F.divergence(outputs), (ratio * advantage).mean()

        rule(net, F, g, gain)
        divergences.append(gain()[0])
    return net, np.array(returns), np.array(divergences)


rules = {"natural gradient": natural_step}
rules |= {f"gradient, learning rate {lr:g}": plain_step(lr) for lr in (1, 5)}
runs = {name: train(rule) for name, rule in rules.items()}
for name, (net, returns, divergences) in runs.items():
    smooth = np.convolve(returns, np.ones(5) / 5, "valid")
    reached = np.flatnonzero(smooth >= 475)
    when = f"after {reached[0] + 4} steps" if len(reached) else f"not within {N_STEPS} steps"
    _, _, within = play(net, np.random.default_rng(1), seed=1, n_episodes=100)
    print(
        f"{name}: an average return of 475 {when}; of 100 new episodes {within.sum(axis=0).mean():.0f}; "
        f"divergence of a step {divergences.min():.1g} to {divergences.max():.4f}"
    )

# %%
# At any learning rate the plain gradient takes steps that are too short for one policy and too long for the next. With
# the large rate it also reaches the maximum, but with steps of a nat and more. Steps of the natural gradient stay
# within the given divergence. Near the maximum both fluctuate, since 16 episodes say little about small differences of
# pushes.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for style, (name, (_, returns, divergences)) in zip(("-", "--", ":"), runs.items(), strict=True):
    left.plot(returns, style, label=name)
    right.semilogy(divergences, style)
left.axhline(475, color="0.6", linewidth=1, zorder=0)
left.set(
    xlabel="step", ylabel="mean return of 16 episodes", ylim=(0, 520), yticks=[0, 100, 200, 300, 400, 475]
)
right.axhline(DELTA, color="0.6", linewidth=1, zorder=0)
right.text(1.01, DELTA, "δ", transform=right.get_yaxis_transform(), va="center", color="0.4")
right.set(xlabel="step", ylabel="KL divergence of the next policy (nats)")
figure.legend(loc="outside lower center", ncols=3)
figure.savefig("cart_pole.png", dpi=150)
