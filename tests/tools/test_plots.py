"""Plots of models: their contents and axes, and text without overlaps."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from backends import run_python
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from perceptrons import blobs
from pictures import convolutional, draw, halves, image_of, two_models, two_normal_classes

from steepest import nn, plots
from steepest.decomposition import PCA
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor
from steepest.plots import _style

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# kept by hand: a call of each plot, which a test compares with the plots that there are
CALLS = {
    "learning_curve": lambda **o: plots.learning_curve({"loss": [3.0, 2.0]}, **o),
    "return_curve": lambda **o: plots.return_curve(
        SimpleNamespace(history_={"steps": [64, 128], "mean_return": [20.0, 25.0]}), **o
    ),
    "decision_regions": lambda **o: plots.decision_regions(halves()[2], *halves()[:2], **o),
    "projection": lambda **o: plots.projection(*blobs(), **o),
    "confusion_matrix": lambda **o: plots.confusion_matrix([1, 2, 2], [1, 1, 2], **o),
    "filters": lambda **o: plots.filters(convolutional(), **o),
    "feature_maps": lambda **o: plots.feature_maps(convolutional(), np.eye(6), **o),
    "saliency": lambda **o: plots.saliency(convolutional(), np.eye(36)[:3], **o),
    "weight_images": lambda **o: plots.weight_images(np.eye(9), **o),
    "reconstructions": lambda **o: plots.reconstructions(np.eye(9), np.eye(9), **o),
    "image_grid": lambda **o: plots.image_grid(np.eye(9), **o),
    "network_topology": lambda **o: plots.network_topology(nn.Network([nn.Linear(3, 2)]), **o),
}


# Plots with several panels.
PANELS = {
    "fisher_discriminant": lambda **o: plots.fisher_discriminant(*two_normal_classes(), **o),
    "projections": lambda **o: plots.projections(*two_models(), **o),
}


def test_every_plot_is_tested():
    assert {*CALLS, *PANELS} == set(plots.__all__)


@pytest.mark.parametrize("name", CALLS)
def test_axes(name, tmp_path):
    """Without `ax` a plot makes a figure, which can be saved; otherwise it draws into the given axes."""
    ax = CALLS[name]()
    ax.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    given = Figure().subplots()
    assert CALLS[name](ax=given) is given
    assert given.has_data() or given.texts


@pytest.mark.parametrize("name", PANELS)
def test_panels(name, tmp_path):
    """Without `figure` a plot makes one; otherwise it draws the panels into the given figure or subfigure."""
    panels = PANELS[name]()
    panels[0].figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    figure = Figure(layout="constrained")
    for given in (figure, figure.subfigures(2, 1)[1]):
        panels = PANELS[name](figure=given)
        assert panels.shape == (2,)
        assert given.axes[-2:] == list(panels)
        assert all(panel.has_data() for panel in panels)
        # There is one legend, beside the last panel.
        assert [panel.get_legend() is not None for panel in panels] == [False, True]


@pytest.mark.parametrize("name", [*CALLS, *PANELS])
def test_matplotlib_missing(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "steepest.plots._picture", raising=False)
    with pytest.raises(ImportError, match="plots need Matplotlib: pip install matplotlib"):
        {**CALLS, **PANELS}[name]()


@pytest.mark.parametrize("name", [*CALLS, *PANELS])
def test_notebooks_show_the_picture(name):
    """IPython asks the value of a cell's last line for a PNG; axes and figures provide it without pyplot."""
    ax = np.ravel({**CALLS, **PANELS}[name]())[-1]
    for shown in (ax, ax.figure):
        assert shown._repr_png_().startswith(b"\x89PNG")
    part = Figure().subfigures(2, 1)[1]
    if name in PANELS:
        assert PANELS[name](figure=part)[0]._repr_png_().startswith(b"\x89PNG")


def test_no_window_system_is_needed():
    run_python(
        "import sys, steepest.plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "steepest.plots.confusion_matrix([1, 2], [1, 2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )


def test_learning_curve(tmp_path, rng):
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    model = MLPRegressor(max_iter=3, early_stopping=True).fit(X, y)
    loss = draw(plots.learning_curve(model, tmp_path / "curve.svg", title="A fit"))
    assert (tmp_path / "curve.svg").stat().st_size > 0
    assert loss.get_title() == "A fit"
    score = loss.figure.axes[1]
    assert {line.get_label() for line in loss.lines} == {"training loss", "validation loss"}
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(score.lines[0].get_ydata(), model.validation_scores_)
    # One legend names the lines of both scales, which differ by colour.
    assert [text.get_text() for text in score.get_legend().get_texts()] == [
        *("training loss", "validation loss", "validation score")
    ]
    assert len({line.get_color() for line in (*loss.lines, *score.lines)}) == 3
    # Given scores replace the model's; without scores there is a single axis.
    given = plots.learning_curve(model, scores={"accuracy": [0.5, 0.6, 0.7]}).figure.axes[1]
    assert [line.get_label() for line in given.lines] == ["accuracy"]
    assert len(plots.learning_curve({"loss": [3.0, 2.0]}).figure.axes) == 1
    with pytest.raises(ValueError, match="there is no loss to draw"):
        plots.learning_curve(MLPRegressor())


def test_the_palette_is_for_all_eyes():
    """Neighbouring colours differ enough in lightness or hue (redmean distance of 8-bit colours)."""
    rgb = 255 * np.array([to_rgba(c)[:3] for c in _style.COLOURS])
    for i, j in zip(*np.triu_indices(len(rgb), 1), strict=True):
        mean, d = (rgb[i, 0] + rgb[j, 0]) / 2, rgb[i] - rgb[j]
        distance = np.sqrt(
            (2 + mean / 256) * d[0] ** 2 + 4 * d[1] ** 2 + (2 + (255 - mean) / 256) * d[2] ** 2
        )
        assert distance > 100


def test_weight_images():
    weights = np.arange(12.0 * 5).reshape(12, 5) - 20
    ax = plots.weight_images(weights, (3, 4), columns=2)
    image = image_of(ax)
    assert image.shape == (3 * 4 - 1, 2 * 5 - 1)
    np.testing.assert_array_equal(image[:3, :4], weights[:, 0].reshape(3, 4))
    np.testing.assert_array_equal(image[4:7, 5:9], weights[:, 3].reshape(3, 4))
    assert np.isnan(np.ma.filled(image, np.nan)[3]).all()
    assert ax.images[0].get_clim() == (-39, 39)
    with pytest.raises(ValueError, match="12 pixels are no image of 3 x 3: pass shape"):
        plots.weight_images(weights)


def test_weight_images_of_models():
    X = np.random.default_rng(0).standard_normal((30, 9))
    model = MLPClassifier((4,), max_iter=1).fit(X, np.arange(30) % 2)
    np.testing.assert_array_equal(
        image_of(plots.weight_images(model))[:3, :3], model.coefs_[0][:, 0].reshape(3, 3)
    )
    pca = PCA(2).fit(X)
    np.testing.assert_array_equal(
        image_of(plots.weight_images(pca))[:3, 4:], pca.components_[1].reshape(3, 3)
    )


def test_reconstructions():
    X = np.random.default_rng(0).random((12, 6))
    ax = plots.reconstructions(X, X + 1, (2, 3), n=4)
    image = image_of(ax)
    assert image.shape == (5, 15)
    np.testing.assert_array_equal(image[:2, 4:7], X[1].reshape(2, 3))
    np.testing.assert_array_equal(image[3:, 4:7], X[1].reshape(2, 3) + 1)
    with pytest.raises(ValueError, match="reconstruction"):
        plots.reconstructions(X, X[:3])


def test_a_grid_of_images():
    X = np.random.default_rng(0).random((5, 6))
    for given, shape in ((X, (2, 3)), (X.reshape(5, 2, 3), None)):
        image = image_of(plots.image_grid(given, shape, columns=3))
        assert image.shape == (5, 11)
        np.testing.assert_array_equal(image[3:, 4:7], X[4].reshape(2, 3))
    with pytest.raises(ValueError, match="has no images"):
        plots.image_grid(X[:0], (2, 3))
    with pytest.raises(ValueError, match="6 pixels are no image of 2 x 2"):
        plots.image_grid(X)


def test_every_weight_is_a_line():
    net = nn.Network([nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)])
    first, second = net.parameters()[0].value, net.parameters()[2].value
    first[...] = [[1.0, -0.5], [0.25, 0.0], [-0.75, 0.001]]
    second[...] = [[2.0], [-2.0]]
    ax = draw(plots.network_topology(net))
    lines, others = ax.collections
    # Weights that are zero, or negligible relative to the largest, are not drawn.
    assert len(lines.get_segments()) == 4
    assert len(others.get_segments()) == 2
    widths = lines.get_linewidths()
    assert list(widths) == sorted(widths)
    blue = [np.allclose(colour[:3], to_rgba(_style.POSITIVE)[:3]) for colour in lines.get_colors()]
    assert blue == [True, False, False, True]  # 0.25, -0.5, -0.75, 1
    assert [t.get_text() for t in ax.texts] == ["3\ninputs", "2\ntanh", "1"]
    columns = [line.get_ydata() for line in ax.lines]
    assert [len(column) for column in columns] == [3, 2, 1]
    assert all((np.diff(column) < 0).all() for column in columns)  # the first unit on top


def test_a_network_that_is_no_chain_is_drawn_as_its_operations():
    x = nn.Input((2, 3), name="x")
    h = nn.Linear(6, 4)(nn.Flatten()(x))
    net = nn.Network(x, nn.Add()(h, nn.Tanh()(h), nn.Constant([1.0])))
    ax = draw(plots.network_topology(net))
    names = [t.get_text() for t in ax.texts if t.get_text()]
    assert names[0::2] == ["input", "constant", "reshape(6,)", "linear", "tanh", "add"]
    assert names[1::2] == ["2 × 3", "1", "6", "4", "4", "4"]
    left = [box.get_x() for box in ax.patches if hasattr(box, "get_x")]
    assert [round(a - left[0]) for a in left] == [0, 3, 1, 2, 3, 4]
    # An arrow for each value that is read, and one for the output.
    assert sum(t.arrow_patch is not None for t in ax.texts if hasattr(t, "arrow_patch")) == 7


def test_wide_layers_are_thinned():
    net = nn.Network([nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)])
    ax = draw(plots.network_topology(net, max_units=8))
    assert [len(line.get_ydata()) for line in ax.lines] == [7, 7, 7]
    assert sum(t.get_text() == "⋮" for t in ax.texts) == 3
    assert len(ax.collections[0].get_segments()) <= 49
    with pytest.raises(ValueError, match="max_units must be at least 2"):
        plots.network_topology(net, max_units=1)


def test_topology_of_estimators():
    X, y = blobs()
    model = MLPClassifier((5,), max_iter=1).fit(X, y)
    labels = [t.get_text() for t in plots.network_topology(model).texts]
    assert labels == ["10\ninputs", "5\nrelu", "3\nsoftmax"]
    autoencoder = Autoencoder((5, 2), tied_weights=True, max_iter=1).fit(X)
    assert [len(line.get_ydata()) for line in plots.network_topology(autoencoder).lines] == [10, 5, 2, 5, 10]
    with pytest.raises(TypeError, match="an object of type MLPClassifier has no network, or is not fitted"):
        plots.network_topology(MLPClassifier())
    with pytest.raises(ValueError, match="no linear layer"):
        plots.network_topology(nn.Network([nn.ReLU()]))
