"""Images as samples of `training.Batches`: conversion, augmentation drawn anew in each epoch, mixed targets."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import assert_close, identical

import steepest
from steepest import nn, optim
from steepest.training.batches import Batches, Samples, predict
from steepest.training.images import Augmentation
from steepest.training.programs import GradientDescent
from steepest.training.trainer import Trainer

SHAPE = (5, 6, 3)
ALL = Augmentation(shift=(1, 2), flip=True, flip_vertical=True, cutout=2, mixup=0.5, fill=0.25)


def images_and_ids(rng, n=23):
    return rng.integers(0, 256, (n, *SHAPE), np.uint8), rng.integers(0, 4, n)


def an_epoch(batches, stream, lengths):
    """The batches of an epoch, replayed from captured steps as the trainer does it."""
    batches.begin(stream)
    taken = []
    for length in lengths:
        with steepest.capture() as graph:
            batch = batches.take(length)
        graph.replay()
        taken.append(batch)
    return taken


def joined(batches):
    return np.concatenate([batch.x for batch in batches])


@pytest.mark.parametrize("flat", [False, True])
def test_bytes_are_scaled_while_they_are_gathered(rng, dtype, flat):
    X, y = images_and_ids(rng)
    samples = Samples(X.reshape(len(X), -1) if flat else X, y)
    batches = Batches(samples, seed=3, dtype=dtype)
    taken = an_epoch(batches, 0, (16, 7))
    expected = samples.X[batches.order].astype(dtype) * dtype(1 / 255)
    assert identical(joined(taken), expected)
    assert identical(np.concatenate([batch.y for batch in taken]), y[batches.order])


@pytest.mark.parametrize("flat", [False, True])
def test_each_epoch_draws_anew_whatever_the_batch_size(rng, dtype, flat):
    X, y = images_and_ids(rng)
    rules = Augmentation(shift=(1, 2), flip=True, flip_vertical=True, cutout=2, fill=0.25)
    shape = {"image_shape": SHAPE} if flat else {}
    samples = Samples(X.reshape(len(X), -1) if flat else X, y)
    batches = Batches(samples, seed=3, dtype=dtype, augmentation=rules, **shape)
    plain = Batches(samples, seed=3)
    epochs = []
    for stream in (0, 1):
        whole = joined(an_epoch(batches, stream, (16, 7)))
        assert identical(joined(an_epoch(batches, stream, (9, 9, 5))), whole)
        plain.begin(stream)
        assert identical(batches.order, plain.order), "augmentation changes the shuffles"
        expected, _ = reference.take_images(
            X,
            batches.order,
            shift=(1, 2),
            flip=True,
            flip_vertical=True,
            cutout=2,
            fill=0.25,
            seed=3,
            stream=2**62 + stream,
        )
        assert_close(whole.reshape(expected.shape), expected, 4 * np.finfo(dtype).eps)
        epochs.append(whole[np.argsort(batches.order)])
    assert (epochs[0] != epochs[1]).any(axis=tuple(range(1, epochs[0].ndim))).mean() > 0.8


def test_images_of_floats(rng, dtype):
    X, y = images_and_ids(rng)
    floats = rng.standard_normal(X.shape).astype(dtype)
    batches = Batches(Samples(floats, y), seed=3, augmentation=Augmentation(flip=True))
    x = joined(an_epoch(batches, 4, (23,)))
    assert x.dtype == dtype
    flipped = np.array([not identical(a, b) for a, b in zip(x, floats[batches.order], strict=True)])
    assert 0 < flipped.sum() < 23
    assert identical(x[flipped], floats[batches.order][flipped][:, :, ::-1])


def test_a_crop_is_a_smaller_sample(rng):
    X, y = images_and_ids(rng)
    rules = Augmentation(crop=(3, 4))
    assert Batches(Samples(X, y), augmentation=rules).take(2).x.shape == (2, 3, 4, 3)
    flat = Batches(Samples(X.reshape(23, -1), y), augmentation=rules, image_shape=SHAPE)
    assert flat.take(2).x.shape == (2, 36)


@pytest.mark.parametrize("kind", ["ids", "probabilities", "numbers"])
def test_targets_and_weights_are_mixed_like_the_images(rng, dtype, kind):
    X, ids = images_and_ids(rng)
    rows = {
        "ids": np.eye(4)[ids],
        "probabilities": rng.dirichlet(np.ones(4), 23),
        "numbers": rng.standard_normal(23),
    }
    y = ids if kind == "ids" else rows[kind].astype(dtype)
    samples = Samples(X, y, rng.random(23).astype(dtype))
    # All pixels of image i are i: what it is mixed with can be read from the batch.
    samples.X[...] = np.arange(23, dtype=np.uint8)[:, None, None, None]
    options = {
        "dtype": dtype,
        "augmentation": Augmentation(mixup=0.5),
        "n_classes": 4 if kind == "ids" else None,
    }
    batches = Batches(samples, seed=8, **options)
    (batch,) = an_epoch(batches, 2, (23,))
    order = batches.order
    own, other = order / 255, np.roll(order, -1) / 255
    weights = (batch.x[:, 0, 0, 0] - other) / (own - other)
    assert ((weights > -1e-4) & (weights < 1 + 1e-4)).all()
    assert np.std(weights) > 0.2
    # An error of the pixels, divided by a difference of at least 1 / 255.
    tolerance = 255 * 8 * np.finfo(dtype).eps
    assert_close(batch.y, reference.mix_rows(rows[kind][order], weights), tolerance * 3)
    assert_close(batch.sample_weight, reference.mix_rows(samples.sample_weight[order], weights), tolerance)
    assert batch.y.dtype == dtype


def test_cuda_draws_what_the_cpu_draws(cupy, rng, dtype):
    X, y = images_and_ids(rng)
    options = {"seed": 3, "dtype": dtype, "augmentation": ALL, "n_classes": 4}
    on_cpu = an_epoch(Batches(Samples(X, y), **options), 1, (16, 7))
    on_cuda = an_epoch(Batches(Samples(cupy.asarray(X), cupy.asarray(y)), **options), 1, (16, 7))
    for ours, theirs in zip(on_cuda, on_cpu, strict=True):
        assert isinstance(ours.x, cupy.ndarray)
        assert identical(cupy.asnumpy(ours.x), theirs.x)
        assert identical(cupy.asnumpy(ours.y), theirs.y)


def test_training_on_augmented_images(rng, dtype):
    """Bright left halves against bright right ones: flips would destroy the classes, shifts and mix-up do not."""
    ids = rng.integers(0, 2, 120)
    X = rng.integers(0, 90, (120, 6, 8, 1), np.uint8)
    for image, label in zip(X, ids, strict=True):
        image[:, 4 * label : 4 * label + 4] += 150
    net = nn.Network([nn.Linear(48, 2)], seed=0, dtype=dtype)
    rules = Augmentation(shift=1, cutout=2, mixup=0.2)
    batches = Batches(
        Samples(X.reshape(120, -1), ids),
        seed=1,
        dtype=dtype,
        augmentation=rules,
        image_shape=(6, 8, 1),
        n_classes=2,
    )
    optimizer = optim.Adam(net.parameters(), lr=0.02)
    trainer = Trainer({"net": GradientDescent(net, nn.SoftmaxCrossEntropy(), optimizer)}, batches, 32)
    losses = [trainer.run_epoch(epoch)[0] for epoch in range(15)]
    assert losses[-1] < 0.7 * losses[0]
    assert (predict(net, X.reshape(120, -1)).argmax(axis=1) == ids).all()


def linear_network(shape, dtype):
    x = nn.Input(shape)
    return nn.Network(x, nn.Linear(int(np.prod(shape)), 4)(nn.Flatten()(x)), seed=0, dtype=dtype)


@pytest.mark.parametrize("flat", [False, True])
def test_predictions(rng, dtype, flat):
    X, _ = images_and_ids(rng, 2500)  # more than a block
    given = X.reshape(2500, -1) if flat else X
    shape = SHAPE if flat else None
    net = linear_network(90 if flat else SHAPE, dtype)
    scaled = given.astype(dtype) * dtype(1 / 255)
    assert_close(predict(net, given), net.predict(scaled), 20 * np.finfo(dtype).eps)
    assert identical(predict(net, scaled), net.predict(scaled))
    chain = nn.Network([nn.Linear(90, 5), nn.Linear(5, 4)], seed=0, dtype=dtype)
    first = chain.predict(scaled.reshape(2500, -1), layers=slice(1))
    assert_close(predict(chain, X.reshape(2500, -1), layers=slice(1)), first, 20 * np.finfo(dtype).eps)
    # Only a crop matters: its middle is taken.
    assert identical(predict(net, given, augmentation=ALL, image_shape=shape), predict(net, given))
    small = linear_network(36 if flat else (3, 4, 3), dtype)
    middle = scaled.reshape(X.shape)[:, 1:4, 1:5]
    expected = small.predict(np.ascontiguousarray(middle).reshape(2500, -1) if flat else middle)
    for inputs in (given, scaled):
        cropped = predict(small, inputs, augmentation=Augmentation(crop=(3, 4), flip=True), image_shape=shape)
        assert_close(cropped, expected, 20 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation": ALL}, r"image_shape = \(h, w, c\) is required for samples of shape \(90,\)"),
        (
            {"augmentation": ALL, "image_shape": (5, 6, 1)},
            r"image_shape \(5, 6, 1\) has 30 items, but samples have",
        ),
        ({"augmentation": ALL, "image_shape": SHAPE}, "or class ids together with n_classes"),
    ],
)
def test_what_is_missing(rng, options, message):
    X, y = images_and_ids(rng)
    with pytest.raises(ValueError, match=rf"^\[Augmentation\] .*{message}"):
        Batches(Samples(X.reshape(23, -1), y), **options)


def test_a_class_id_out_of_range(rng):
    X, y = images_and_ids(rng)
    y[0] = 4
    batches = Batches(Samples(X, y), augmentation=Augmentation(mixup=1.0), n_classes=4)
    with pytest.raises(IndexError, match=r"^\[take_rows\] index 4 at position \d+ is outside 0\.\.3"):
        an_epoch(batches, 0, (23,))
