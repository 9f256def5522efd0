"""
Balancing a pole by the natural policy gradient
===============================================

A pole stands on a cart, which is pushed to the left or to the right fifty times a second. An episode ends when the pole
has tilted by more than 12°, or after 500 pushes; its return is the number of pushes. A policy is a small network that
predicts the probability of each push in a state. It is a categorical distribution, and so has a Fisher matrix.

The policy gradient is the mean of the scores of the pushes, weighted by their advantages: how much better what followed
was than the value of the state before [#williams]_. A good step length in parameters is hard to choose, since the same
step hardly changes one policy and makes another one nearly deterministic. The natural gradient measures steps in
divergences [#kakade]_. It goes along F⁻¹g to the edge of the ball ½ dᵀFd = δ, and back from there until the divergence
itself is at most δ [#schulman]_. Proximal policy optimisation takes many short steps instead, and clips the ratios of
probabilities that they may gain by [#ppo]_.

.. [#williams] R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
   learning", Machine Learning 8, 1992.
.. [#kakade] S. Kakade, "A natural policy gradient", NIPS 2001.
.. [#schulman] J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel, "Trust region policy optimization", ICML 2015.
.. [#ppo] J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov, "Proximal policy optimization algorithms", 2017.
"""

import matplotlib.pyplot as plt
import numpy as np

from steepest import plots
from steepest.reinforcement import PPO, NaturalPolicyGradient, PolicyGradient

plt.style.use("petroff10")
N_STEPS = 60_000
DELTA = 0.01  # bound of the divergence of a natural step, in nats

agents = {
    "natural gradient": NaturalPolicyGradient("CartPole-v1", max_divergence=DELTA, random_state=0),
    "clipped steps (PPO)": PPO("CartPole-v1", random_state=0),
    "gradient, Adam": PolicyGradient("CartPole-v1", learning_rate=0.01, random_state=0),
}
for name, agent in agents.items():
    agent.learn(N_STEPS)
    returns, history = agent.evaluate(100), agent.history_
    print(
        f"{name}: after {agent.n_steps_} pushes, 100 new episodes last {returns.mean():.0f} ± {returns.std():.0f}; "
        f"divergence of an update {min(history['divergence']):.1g} to {max(history['divergence']):.4f}"
    )

# %%
# All three learn. Natural steps never leave their ball. The divergences of the plain gradient's steps differ by orders
# of magnitude: the learning rate that is right at first is wrong later.
#
# The probability of a push to the right, for a cart in the middle that stands still, shows what has been learned: to
# push where the pole falls, with a margin for how fast it does.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
plots.return_curve(agents, best=500, ax=left)
for agent, line in zip(agents.values(), left.get_lines()[1:], strict=True):
    middle.semilogy(agent.history_["steps"], agent.history_["divergence"], color=line.get_color())
middle.axhline(DELTA, color="0.6", linewidth=1, zorder=0)
middle.text(1.01, DELTA, "δ", transform=middle.get_yaxis_transform(), va="center", color="0.4")
middle.set(xlabel="steps", ylabel="KL divergence of the next policy (nats)")

angles, speeds = np.radians(np.linspace(-12, 12, 121)), np.linspace(-2, 2, 121)
states = np.zeros((121, 121, 4))
states[..., 2], states[..., 3] = angles, speeds[:, None]
probability = agents["natural gradient"].probabilities(states.reshape(-1, 4))[:, 1].reshape(121, 121)
picture = right.pcolormesh(np.degrees(angles), speeds, probability, cmap="RdBu_r", vmin=0, vmax=1)
right.contour(np.degrees(angles), speeds, probability, [0.5], colors="0.2")
right.set(xlabel="angle of the pole (degrees)", ylabel="its angular velocity (rad/s)")
right.set_title("natural gradient: probability of a push to the right", fontsize="medium")
figure.colorbar(picture)
figure.savefig("cart_pole.png", dpi=150)
