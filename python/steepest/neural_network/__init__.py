"""Neural networks with scikit-learn's interface, trained by captured graphs of kernels."""

from steepest.training.images import Augmentation
from steepest.training.sequences import Sequences

from ._autoencoder import Autoencoder
from ._classifier import MLPClassifier
from ._conv_autoencoder import ConvAutoencoder
from ._conv_classifier import ConvClassifier
from ._conv_regressor import ConvRegressor
from ._dbn import DeepBeliefNetwork
from ._gan import GAN
from ._language_model import LanguageModel
from ._rbm import BernoulliRBM
from ._regressor import MLPRegressor
from ._sequence_classifier import SequenceClassifier
from ._sequence_regressor import SequenceRegressor
from ._variational_autoencoder import VariationalAutoencoder

__all__ = [
    "GAN",
    "Augmentation",
    "Autoencoder",
    "BernoulliRBM",
    "ConvAutoencoder",
    "ConvClassifier",
    "ConvRegressor",
    "DeepBeliefNetwork",
    "LanguageModel",
    "MLPClassifier",
    "MLPRegressor",
    "SequenceClassifier",
    "SequenceRegressor",
    "Sequences",
    "VariationalAutoencoder",
]
