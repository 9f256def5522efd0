"""The networks and agents that the commands know; the modules of their classes would load scikit-learn."""

# kept by hand: the architectures of ConvClassifier, and the bodies of LanguageModel
IMAGE_MODELS = ("mlp", "lenet", "small", "resnet8")
GENERATIVE_MODELS = ("gan", "vae")
TEXT_MODELS = ("transformer", "gru", "lstm", "rnn")
# Method of `steepest reinforce` -> class of steepest.reinforcement.
AGENTS = {"gradient": "PolicyGradient", "natural": "NaturalPolicyGradient", "ppo": "PPO"}
