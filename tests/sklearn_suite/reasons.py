"""Why a test of scikit-learn's fails here: file -> test -> reason, in words for users; the docs show them.

A key is the name of a test, with its parameters where only some of them fail. A test that fails without a reason is an
error, and so is a reason whose test passes.
"""

from __future__ import annotations

REASONS: dict[str, dict[str, str]] = {
    "mlp": {
        "test_adaptive_learning_rate": "Reads `learning_rate` of the private optimizer.",
        "test_fit": "Sets the weights of one logistic output for two classes, which have two outputs here.",
        "test_gradient": "Calls the private `_loss_grad_lbfgs`.",
        "test_learning_rate_warmstart": "Reads `learning_rate` of the private optimizer.",
        "test_mlp_diverging_loss": "A loss that stops being finite is a `DivergenceError` here.",
        "test_mlp_vs_poisson_glm_equivalent": '`loss="poisson"` is not offered.',
        "test_multilabel_classification": "Multilabel targets are not offered.",
        "test_nonfinite_params": "A loss that stops being finite is a `DivergenceError` here.",
        "test_predict_proba_multilabel": "Multilabel targets are not offered.",
        "test_sparse_matrices": "Sparse inputs are not offered.",
    },
    "base": {
        "test_inplace_data_preprocessing": "X is never written to, whatever `copy_X`.",
    },
}
