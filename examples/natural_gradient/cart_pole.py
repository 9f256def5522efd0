"""
Balancing a pole by the natural policy gradient
===============================================

A pole stands on a cart, which is pushed to the left or to the right fifty times a second. An episode ends when the pole
has tilted by more than 12°, or after 500 pushes, and its return is their number. A policy is a small network that says
how likely each push is in a state: a categorical distribution, with a Fisher matrix.

Its gradient is the mean of the scores of the pushes, each weighted by its advantage: by how much more return followed
than the states before had promised [#williams]_. How long a step should be is hard to say in parameters, since the
same step changes one policy a little, and makes another one of certainties. The natural gradient says it in
divergences [#kakade]_: it goes along F⁻¹g to the edge of the ball ½ dᵀFd = δ, and halves the step there until the
divergence itself is within δ, and the pushes with an advantage have become likelier [#schulman]_.

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
N_EPISODES = 16  # at a time, with every policy
N_STEPS = 50
DELTA = 0.01  # nats
loss = nn.SoftmaxCrossEntropy()


def play(net, rng, seed, n_episodes=N_EPISODES):
    """Play episodes side by side: states and pushes, time by episode, and which of them are within an episode."""
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
    """Discounted returns of the pushes, less what a regression on state and time expects, standardised."""
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
# ``fisher.score`` has the derivatives of −log p(push | state) as its rows: their mean, weighted by the advantages, is
# the derivative of what is to be lowered. Both rules get it. What a step has gained, while it is short, is the mean of
# the advantages over the same states with the pushes as likely as they are now.


def natural_step(net, F, g, gain):
    """The step to the edge of the ball, halved until the divergence is within it and there is a gain."""
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
    """The mean return of every policy, and the divergence of the next one from it."""
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
# Whatever its rate is, the plain gradient takes steps that are too short for one policy and too long for the next. With
# the large rate it gets there too, by way of steps of a nat and more. Those of the natural gradient stay within the
# length that was asked for. At the top both waver: 16 episodes say little about which pushes were better than good.

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
