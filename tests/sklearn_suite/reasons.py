"""Why tests of scikit-learn fail here: file -> test -> reason, written for users, since the docs show it.

A key is the name of a test, with its parameters if only some of them fail. A test that fails without a reason is an
error, and so is a reason for a test that passes.
"""

from __future__ import annotations

_EXACT = '`"arpack"` and `"randomized"` are the exact solvers here, which have fewer restrictions.'

_DECAY = (
    "scikit-learn scales the intercept's steps by 0.01 for sparse inputs; here they are as for dense inputs."
)
_ORDER = "The result depends on the shuffled order, which another generator gives; it is equal with `shuffle=False`."

REASONS: dict[str, dict[str, str]] = {
    "mlp": {
        "test_adaptive_learning_rate": "Reads `learning_rate` of the private optimizer, which is `lr` here.",
        "test_gradient": "Calls the private `_loss_grad_lbfgs`.",
        "test_learning_rate_warmstart": "Reads `learning_rate` of the private optimizer, which is `lr` here.",
        "test_mlp_diverging_loss": "Goes on training after an infinite loss; here that is a `DivergenceError`, "
        "and the last finite weights remain.",
        "test_nonfinite_params": "Expects another `ValueError`; here it is a `DivergenceError` that names "
        "epoch and step.",
    },
    "base": {
        "test_inplace_data_preprocessing": "X is never written to, whatever `copy_X`.",
    },
    "sgd": {
        "test_average_binary_computed_correctly[SparseSGDClassifier]": _DECAY,
        "test_average_sparse": _DECAY,
        "test_class_weights": _ORDER,
        "test_late_onset_averaging_reached[SparseSGDClassifier]": _DECAY,
        "test_late_onset_averaging_reached[SparseSGDRegressor]": _DECAY,
        "test_loss_function_epsilon": "Reads the private table of loss classes.",
        "test_sample_weights": _ORDER,
        "test_sgd_averaged_computed_correctly[SparseSGDRegressor]": _DECAY,
        "test_sgd_averaged_partial_fit[SparseSGDRegressor]": _DECAY,
        "test_sgd_error_on_zero_validation_weight": "Expects another error; here it is that all weights are zero.",
        "test_sgd_multiclass_average[SparseSGDClassifier]": _DECAY,
        "test_sgd_proba[SparseSGDClassifier]": _DECAY,
        "test_sgd_predict_proba_method_access": "Reads the private table of loss classes.",
        "test_underflow_or_overflow": "A parameter that stops being finite is a `DivergenceError` here.",
        "test_validation_mask_correctly_subsets": "Replaces a private method.",
    },
    "lda": {
        "test_lda_predict": 'Expects an error for `shrinkage` with `solver="svd"`; every solver takes it here.',
    },
    "pca": {
        "test_n_components_mle_error": _EXACT,
        "test_n_components_none": _EXACT,
        "test_pca_score": "Expects another likelihood of the same model where it whitens.",
        "test_pca_svd_solver_auto": _EXACT,
        "test_pca_validation": _EXACT,
        "test_pca_zero_noise_variance_edge_cases": "Expects some number for a density that does not exist.",
        "test_sparse_pca_solver_error": _EXACT,
    },
}
