"""The part of the samples that early stopping holds out, split as in scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.model_selection import train_test_split

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host
from steepest.training.batches import Samples

from ._parameters import PerceptronParameters, prefixed


def hold_out(
    model: PerceptronParameters,
    samples: Samples,
    random_state: np.random.RandomState,
    strata: Callable[[Array], Array | None],
) -> tuple[Array, Samples]:
    """Return the rows to train on and the validation samples.

    Parameters
    ----------
    model : PerceptronParameters
        The parameters of the estimator.
    samples : Samples
        All samples.
    random_state : RandomState
        Generator of the split.
    strata : callable
        Returns the labels by which to stratify the split, or None, from the targets on the host.

    Raises
    ------
    ValueError
        If there are fewer than two validation samples, or the samples of a part all have the weight 0.
    """
    rows, held_out = train_test_split(
        np.arange(len(samples)),
        random_state=random_state,
        test_size=model.validation_fraction,
        stratify=strata(to_host(samples.y)),
    )
    if len(held_out) < 2:
        raise ValueError(
            prefixed(
                model,
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset.",
            )
        )
    rows, held_out = (to_device(indices, samples.device) for indices in (rows, held_out))
    for name, indices in (("training", rows), ("validation", held_out)):
        if samples.sample_weight is not None and not samples.sample_weight[indices].sum(dtype=np.float64) > 0:
            raise ValueError(prefixed(model, f"sample_weight is zero for every sample of the {name} set"))
    return rows, samples[held_out]
