"""Plots of convolutional networks: filters, feature maps and saliency maps show the numbers that they should."""

from __future__ import annotations

import numpy as np
import pytest
from perceptrons import blobs
from pictures import convolutional, draw, halves, image_of

from steepest import nn, plots
from steepest.neural_network import ConvClassifier, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def drawn(ax, i=0):
    """The numbers of image i of the axes, NaN between the parts."""
    return np.ma.filled(ax.images[i].get_array(), np.nan)


def forked():
    x = nn.Input((6, 6, 1))
    return nn.Network(x, nn.Add()(nn.Conv2d(1, 1, 3, padding=1)(x), x))


def test_filters_of_one_channel():
    net = convolutional()
    weight = net.parameters()[0].value
    ax = draw(plots.filters(net, n_filters=3, columns=2))
    image = image_of(ax)
    assert image.shape == (7, 7)
    np.testing.assert_array_equal(image[:3, 4:], weight[:, :, 0, 1])
    np.testing.assert_array_equal(image[4:, :3], weight[:, :, 0, 2])
    assert np.isnan(drawn(ax)[3]).all()
    assert np.isnan(drawn(ax)[4:, 4:]).all()
    assert ax.images[0].get_clim() == pytest.approx(np.abs(weight[..., :3]).max() * np.array([-1, 1]))
    assert ax.get_title() == "layer 0, convolution: 3 of 4 filters of 3 × 3"


def test_filters_of_several_channels_have_a_column_each():
    net = convolutional()
    weight = {p.name: p.value for p in net.parameters()}["2.0.weight"]
    ax = draw(plots.filters(net, "2.0", n_channels=2))
    image = image_of(ax)
    assert image.shape == (2 * 4 - 1, 4 * 4 - 1)
    np.testing.assert_array_equal(image[4:, 8:11], weight[:, :, 1, 2])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("filter", "input channel")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1", "2", "3"]
    np.testing.assert_array_equal(ax.get_xticks(), [1, 5, 9, 13])
    # Each image has a frame, from the edge of its first pixel to that of its last.
    (frames,) = ax.collections
    assert len(frames.get_paths()) == 8
    extent = frames.get_paths()[6].get_extents()
    np.testing.assert_array_equal([extent.x0, extent.x1, extent.y0, extent.y1], [7.5, 10.5, 3.5, 6.5])


def test_filters_of_sequences_transposes_and_groups():
    sequences = nn.Network([nn.Input((9, 2)), nn.Conv1d(2, 3, 5)])
    weight = sequences.parameters()[0].value
    ax = plots.filters(sequences)
    np.testing.assert_array_equal(image_of(ax)[2, 6:11], weight[:, 1, 1])
    assert ax.get_title() == "layer 0, convolution: 3 filters of 5 taps"
    back = nn.Network([nn.Input((3, 3, 2)), nn.ConvTranspose2d(2, 5, 3, stride=2)])
    ax = plots.filters(back)
    np.testing.assert_array_equal(image_of(ax)[16:, 4:], back.parameters()[0].value[:, :, 4, 1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input channel", "output channel")
    depthwise = nn.Network([nn.Input((5, 5, 20)), nn.Conv2d(20, 20, 3, groups=20)])
    assert image_of(plots.filters(depthwise)).shape == (11, 31)
    single = nn.Network([nn.Input((5, 5, 2)), nn.Conv2d(2, 1, 3)])
    assert plots.filters(single).get_title() == "layer 0, convolution: 1 filter of 3 × 3"
    points = nn.Network([nn.Input((5, 5, 2)), nn.Conv2d(2, 3, 1)])
    assert plots.filters(points).get_title() == "layer 0, convolution: 3 filters of 1 × 1"
    # Of many rows and columns, every second or third one has a number.
    wide = nn.Network([nn.Input((5, 5, 40)), nn.Conv2d(40, 20, 3)])
    ax = draw(plots.filters(wide, n_channels=40))
    assert [t.get_text() for t in ax.get_xticklabels()] == [str(i) for i in range(0, 20, 2)]
    assert [t.get_text() for t in ax.get_yticklabels()] == [str(i) for i in range(0, 40, 3)]


def test_feature_maps():
    net, image = convolutional(), np.random.default_rng(0).random((6, 6)).astype(np.float32)
    maps = net.predict(image[None, :, :, None], layers=slice(2))[0]
    ax = draw(plots.feature_maps(net, image, columns=3))
    np.testing.assert_array_equal(image_of(ax)[:4, 5:9], maps[:, :, 1])
    np.testing.assert_array_equal(image_of(ax)[5:, :4], maps[:, :, 3])
    assert ax.images[0].get_clim() == pytest.approx((0, maps.max()))
    assert ax.get_title() == "layer 1, ReLU: 4 maps of 4 × 4"
    # Before the ReLU there are negative numbers, and zero is white. A row of pixels is an image, too.
    ax = plots.feature_maps(net, image.ravel(), 0, n_maps=2)
    maps = net.predict(image[None, :, :, None], layers=slice(1))[0, :, :, :2]
    low, high = ax.images[0].get_clim()
    assert -low == high == pytest.approx(np.abs(maps).max())
    assert ax.get_title() == "layer 0, Conv2d: 2 of 4 maps of 4 × 4"
    assert plots.feature_maps(net, image, -4).get_title().startswith("layer 3, MaxPool2d: 4 maps of 2 × 2")
    sequences = nn.Network([nn.Input((9, 2)), nn.Conv1d(2, 3, 5)])
    ax = draw(plots.feature_maps(sequences, np.ones((9, 2))))
    assert image_of(ax).shape == (5, 5)
    assert ax.get_title() == "layer 0, Conv1d: 3 maps of 5 places"


def test_saliency_is_the_derivative_of_the_score():
    """Of a linear score it is the absolute weight, whatever the image; the largest of a map is one."""
    net = nn.Network([nn.Input((2, 3, 1)), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 3), nn.Softmax()])
    weight = net.parameters()[0].value
    X = np.random.default_rng(0).random((5, 6))
    ax = draw(plots.saliency(net, X, [2, 0, 1, 1, 0], n=4))
    assert drawn(ax).shape == drawn(ax, 1).shape == (2, 15)
    for i, c in enumerate([2, 0, 1, 1]):
        expected = np.abs(weight[:, c]).reshape(2, 3) / np.abs(weight[:, c]).max()
        np.testing.assert_allclose(drawn(ax, 1)[:, 4 * i : 4 * i + 3], expected, rtol=1e-5)
        shares = (X[i] - X[:4].min()) / np.ptp(X[:4])
        np.testing.assert_allclose(drawn(ax)[:, 4 * i : 4 * i + 3].ravel(), shares, rtol=1e-5, atol=1e-6)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "0", "1", "1"]
    assert ax.get_xlabel() == "class"
    # The score of a certain class has a derivative, too, which its probability has not.
    net.parameters()[1].value[...] = [0, 200, 0]
    ax = plots.saliency(net, X)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1"] * 5
    assert ax.get_xlabel() == "predicted class"
    np.testing.assert_allclose(
        drawn(ax, 1)[:, :3].ravel(), np.abs(weight[:, 1]) / np.abs(weight[:, 1]).max(), rtol=1e-5
    )


def test_saliency_of_colours_is_that_of_the_strongest():
    net = nn.Network([nn.Input((2, 2, 3)), nn.Flatten(), nn.Linear(12, 2)])
    weight = np.abs(net.parameters()[0].value[:, 0]).reshape(2, 2, 3).max(axis=2)
    X = np.random.default_rng(0).random((2, 2, 2, 3))
    ax = draw(plots.saliency(net, X, [0, 0]))
    np.testing.assert_allclose(drawn(ax, 1)[:, 3:], weight / weight.max(), rtol=1e-5)
    shares = (X[1] - X.min()) / np.ptp(X)
    np.testing.assert_allclose(image_of(ax)[:, 3:], shares, rtol=1e-5, atol=1e-6)


def test_saliency_of_estimators():
    X, y, model = halves()
    ax = plots.saliency(model, X, y, shape=(2, 1), n=3)
    assert drawn(ax, 1).shape == (2, 5)
    assert [t.get_text() for t in ax.get_xticklabels()] == list(y[:3])
    # The first feature decides, in the linear model whose classes are the signs of the first feature.
    assert np.nanmean(drawn(ax, 1)[0]) > np.nanmean(drawn(ax, 1)[1])
    ax = plots.saliency(model, X.reshape(-1, 1, 2))
    assert [t.get_text() for t in ax.get_xticklabels()] == list(model.predict(X[:8]))
    with pytest.raises(ValueError, match=r"\[saliency\] 2 pixels are no image of 1 x 1: pass shape"):
        plots.saliency(model, X)
    with pytest.raises(ValueError, match=r"\[saliency\] y is up at row 1, which is no class of the model"):
        plots.saliency(model, X[:2], ["left", "up"], shape=(1, 2))


def test_estimators_of_images():
    """Their networks take flat rows, which are images again in the plots, and bytes, divided by 255."""
    X = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), np.uint8)
    rows = X.reshape(12, -1).astype(np.float32) / 255
    model = ConvClassifier([(4, 3), "pool"], max_iter=1, image_shape=(6, 5, 3)).fit(rows, np.arange(12) % 2)
    assert plots.filters(model).get_title() == "layer 1, convolution: 4 filters of 3 × 3"
    maps, expected = (image_of(plots.feature_maps(model, image)) for image in (X[0], rows[0]))
    np.testing.assert_allclose(maps, expected, rtol=1e-6)
    shown, flat = plots.saliency(model, X[:2]), plots.saliency(model, rows[:2])
    assert drawn(shown).shape == (6, 11, 3)
    for i in range(2):
        np.testing.assert_allclose(drawn(shown, i), drawn(flat, i), rtol=1e-4, atol=1e-6)
    assert [t.get_text() for t in shown.get_xticklabels()] == [str(c) for c in model.predict(rows[:2])]


def test_saliency_of_a_regressor_is_that_of_an_output():
    X = np.random.default_rng(0).standard_normal((30, 4))
    model = MLPRegressor(hidden_layer_sizes=(), max_iter=5).fit(X, X[:, :2])
    weight = np.abs(model.coefs_[0])
    for y, column in ((None, 0), ([1], 1)):
        ax = plots.saliency(model, X[:1], y)
        np.testing.assert_allclose(drawn(ax, 1).ravel(), weight[:, column] / weight[:, column].max())
        assert [t.get_text() for t in ax.get_xticklabels()] == [str(column)]
        assert ax.get_xlabel() == "output"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: plots.filters(MLPClassifier()), r"\[filters\] an object of type MLPClassifier has no"),
        (lambda net: plots.filters(net, 1), r"\[filters\] there is no convolution at 1, but at: 0, 2.0"),
        (lambda net: plots.filters(net, n_filters=0), r"\[filters\] n_filters is 0"),
        (
            lambda net: plots.filters(MLPClassifier((3,), max_iter=1).fit(*blobs())),
            r"\[filters\] the network has no convolution",
        ),
        (
            lambda net: plots.feature_maps(net, np.eye(6), 7),
            r"\[feature_maps\] layer is 7; it must be in -7..6",
        ),
        (
            lambda net: plots.feature_maps(net, np.eye(6), 4),
            r"\[feature_maps\] layer 4, Flatten, gives samples of shape \(16,\), not images",
        ),
        (
            lambda net: plots.feature_maps(forked(), np.eye(6)),
            r"\[feature_maps\] the network must be a chain of layers",
        ),
        (
            lambda net: plots.feature_maps(net, np.eye(5)),
            r"\[feature_maps\] samples of shape \(1, 5, 5\) do not fit the network, which takes \(n, 6, 6, 1\)",
        ),
        (lambda net: plots.saliency(net, np.ones((0, 6, 6))), r"\[saliency\] X must have at least one image"),
        (
            lambda net: plots.saliency(net, np.ones((2, 6, 6)), [1]),
            r"\[saliency\] y has shape \(1,\), but X has 2",
        ),
        (lambda net: plots.saliency(net, np.ones((2, 6, 6)), [1, 3]), r"\[saliency\] y is 3 at row 1"),
        (
            lambda net: plots.saliency(
                nn.Network([nn.Input((6, 6, 1)), nn.Conv2d(1, 2, 3)]), np.ones((1, 6, 6))
            ),
            r"\[saliency\] the network has an output of shape \(1, 4, 4, 2\), but one score for each class",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(convolutional())
