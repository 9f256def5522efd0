"""The networks that `steepest train` knows; the modules of their estimators would load scikit-learn."""

# kept by hand: the architectures of ConvClassifier, and the bodies of LanguageModel
IMAGE_MODELS = ("mlp", "lenet", "small", "resnet8")
GENERATIVE_MODELS = ("gan", "vae")
TEXT_MODELS = ("transformer", "gru", "lstm", "rnn")
