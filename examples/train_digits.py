"""
Handwritten digits, in a pipeline
=================================

`steepest.neural_network.MLPClassifier` takes scikit-learn's parameters and replaces scikit-learn's class in pipelines.
Here it follows a ``StandardScaler``, with early stopping on a tenth of the training data. The learning curve shows the
training loss and the accuracy on the validation samples; the model keeps the weights of the best epoch.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steepest import plots
from steepest.neural_network import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X.astype("float32"), y, stratify=y, random_state=0)

model = make_pipeline(
    StandardScaler(),
    MLPClassifier((64,), batch_size=32, early_stopping=True, random_state=0),
)
model.fit(X_train, y_train)

mlp = model[-1]
print(f"stopped after {mlp.n_iter_} epochs, validation accuracy {mlp.best_validation_score_:.3f}")
print(f"test accuracy {model.score(X_test, y_test):.3f}")
plots.learning_curve(mlp, "train_digits.png")
