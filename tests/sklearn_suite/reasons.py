"""Why a test of scikit-learn's fails here: file -> test -> reason, in words for users; the docs show them.

A key is the name of a test, with its parameters where only some of them fail. A test that fails without a reason is an
error, and so is a reason whose test passes.
"""

from __future__ import annotations

_EXACT = '`"arpack"` and `"randomized"` are the exact solvers here, which have fewer restrictions.'

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
