"""Plots: what is drawn, where, and that nothing overlaps that is to be read."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from backends import run_python
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from perceptrons import blobs

from steepest import nn, plots
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor
from steepest.plots import _style

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def halves(n=40):
    """Samples left and right of zero, and a model that knows."""
    X = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    y = np.where(X[:, 0] > 0, "right", "left")
    return X, y, MLPClassifier((8,), solver="lbfgs", max_iter=200, alpha=1e-5, random_state=0).fit(X, y)


def image_of(ax):
    return np.asarray(ax.images[0].get_array())


def draw(ax):
    """Draw, as saving would, and return the axes."""
    ax.figure.draw_without_rendering()
    return ax


def two_normal_classes(n=(150, 90)):
    """Long clouds side by side: what parts their means best does not part them best."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((sum(n), 2)) @ [[1.6, 1.2], [0.0, 0.6]]
    y = np.repeat(["a", "b"], n)
    return X + np.where(y[:, None] == "b", [2.0, 0.0], 0.0), y


def two_models():
    X, y = blobs()
    X = X[:, :4]
    return X, y, [PCA(2).fit(X), LinearDiscriminantAnalysis().fit(X, y)]


CALLS = {
    "learning_curve": lambda **o: plots.learning_curve({"loss": [3.0, 2.0]}, **o),
    "decision_regions": lambda **o: plots.decision_regions(halves()[2], *halves()[:2], **o),
    "projection": lambda **o: plots.projection(*blobs(), **o),
    "confusion_matrix": lambda **o: plots.confusion_matrix([1, 2, 2], [1, 1, 2], **o),
    "weight_images": lambda **o: plots.weight_images(np.eye(9), **o),
    "reconstructions": lambda **o: plots.reconstructions(np.eye(9), np.eye(9), **o),
    "network_topology": lambda **o: plots.network_topology(nn.Network([nn.Linear(3, 2)]), **o),
}
# Those of several panels.
PANELS = {
    "fisher_discriminant": lambda **o: plots.fisher_discriminant(*two_normal_classes(), **o),
    "projections": lambda **o: plots.projections(*two_models(), **o),
}


def test_every_plot_is_tested():
    assert {*CALLS, *PANELS} == set(plots.__all__)


@pytest.mark.parametrize("name", CALLS)
def test_axes(name, tmp_path):
    """Without axes there is a figure of its own, which can be saved; given ones are drawn into."""
    ax = CALLS[name]()
    ax.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    given = Figure().subplots()
    assert CALLS[name](ax=given) is given
    assert given.has_data() or given.texts


@pytest.mark.parametrize("name", PANELS)
def test_panels(name, tmp_path):
    """Without a figure there is a new one; a given one, or a part of one, gets the panels."""
    panels = PANELS[name]()
    panels[0].figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    figure = Figure(layout="constrained")
    for given in (figure, figure.subfigures(2, 1)[1]):
        panels = PANELS[name](figure=given)
        assert panels.shape == (2,)
        assert given.axes[-2:] == list(panels)
        assert all(panel.has_data() for panel in panels)
        # One legend, beside the last.
        assert [panel.get_legend() is not None for panel in panels] == [False, True]


@pytest.mark.parametrize("name", [*CALLS, *PANELS])
def test_matplotlib_missing(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "steepest.plots._picture", raising=False)
    with pytest.raises(ImportError, match="plots need Matplotlib: pip install matplotlib"):
        {**CALLS, **PANELS}[name]()


@pytest.mark.parametrize("name", [*CALLS, *PANELS])
def test_notebooks_show_the_picture(name):
    """IPython asks what the last line of a cell gives for a PNG: the axes, and their figure, without pyplot."""
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
    # Given scores take the place of the model's; without any, there is one scale.
    given = plots.learning_curve(model, scores={"accuracy": [0.5, 0.6, 0.7]}).figure.axes[1]
    assert [line.get_label() for line in given.lines] == ["accuracy"]
    assert len(plots.learning_curve({"loss": [3.0, 2.0]}).figure.axes) == 1
    with pytest.raises(ValueError, match="there is no loss to draw"):
        plots.learning_curve(MLPRegressor())


def test_the_palette_is_for_all_eyes():
    """Colours of neighbours in it differ in lightness or hue by enough (redmean distance of 8-bit colours)."""
    rgb = 255 * np.array([to_rgba(c)[:3] for c in _style.COLOURS])
    for i, j in zip(*np.triu_indices(len(rgb), 1), strict=True):
        mean, d = (rgb[i, 0] + rgb[j, 0]) / 2, rgb[i] - rgb[j]
        distance = np.sqrt(
            (2 + mean / 256) * d[0] ** 2 + 4 * d[1] ** 2 + (2 + (255 - mean) / 256) * d[2] ** 2
        )
        assert distance > 100


# ---------------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("probabilities", [False, True])
def test_decision_regions(probabilities):
    X, y, model = halves()
    ax = draw(plots.decision_regions(model, X, y, probabilities=probabilities, resolution=51))
    image = image_of(ax)
    assert image.shape == (51, 51, 3)
    assert ((image >= 0) & (image <= 1)).all()
    colours = _style.colours(2)
    for column, colour in ((0, colours[0]), (-1, colours[1])):
        # The hue of the class, mixed with white.
        shade = 1 - image[25, column]
        assert np.corrcoef(shade, 1 - colour)[0, 1] > 0.99
    left, right, low, high = ax.images[0].get_extent()
    assert left < X[:, 0].min() < X[:, 0].max() < right
    assert low < X[:, 1].min() < X[:, 1].max() < high
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["left", "right"]
    assert sum(len(c.get_offsets()) for c in ax.collections if c.get_label() in ("left", "right")) == 40
    assert len(plots.decision_regions(model, X).collections) < len(ax.collections)


def test_decision_regions_of_a_data_frame():
    pandas = pytest.importorskip("pandas")
    X, y, _ = halves()
    frame = pandas.DataFrame(X, columns=["width", "height"])
    model = MLPClassifier((4,), max_iter=2).fit(frame, y)
    ax = plots.decision_regions(model, frame, y)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
    with pytest.raises(ValueError, match=r"\[decision_regions\] X has shape \(40, 3\)"):
        plots.decision_regions(model, np.ones((40, 3)))


def wave():
    """A regressor of two features, whose targets are whole numbers as often as not."""
    X = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    y = np.rint(4 * X[:, 0])
    return X, y, MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=100, random_state=0).fit(X, y)


def test_decision_regions_of_a_regressor():
    X, y, model = wave()
    ax = draw(plots.decision_regions(model, X, y, resolution=31))
    image = image_of(ax)
    assert image.shape == (31, 31)
    left, right, low, high = ax.images[0].get_extent()
    corners = [[left, low], [right, low], [left, high], [right, high]]
    np.testing.assert_allclose(image[[0, 0, -1, -1], [0, -1, 0, -1]], model.predict(corners))
    # Predictions and samples are on one scale of colours.
    np.testing.assert_array_equal(ax.collections[0].get_array(), y)
    assert ax.images[0].get_clim() == ax.collections[0].get_clim()
    assert len(ax.figure.axes) == 2
    assert not plots.decision_regions(model, X).collections
    with pytest.raises(ValueError, match=r"\[decision_regions\] probabilities=True needs a classifier"):
        plots.decision_regions(model, X, probabilities=True)
    with pytest.raises(ValueError, match=r"\[decision_regions\] the model predicts 2 numbers for a sample"):
        plots.decision_regions(model.fit(X, np.stack([y, y], axis=1)), X)


def test_whole_numbers_of_floats_are_real_numbers():
    X, y, _ = wave()
    assert len(plots.projection(X, y).figure.axes) == 2  # with a scale of colours
    assert plots.projection(X[:, :1], y).get_ylabel() == "y"
    models = [PCA(2).fit(X)]
    assert len(plots.projections(X, y.astype(np.float32), models)[0].collections) == 1
    # Integers are classes, and so is what has labels.
    assert len(plots.projection(X, y.astype(int)).collections) == 9
    assert len(plots.projection(X, y, labels=list("abcdefghi")).collections) == 9


def test_projection():
    X, y = blobs()
    ax = plots.projection(X, y, labels=["a", "b", "c"])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b", "c"]
    np.testing.assert_array_equal(ax.collections[1].get_offsets(), X[y == 1, :2])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("component 1", "component 2")
    many = plots.projection(np.arange(40).reshape(20, 2), np.arange(20) % 10)
    assert [t.get_text() for t in many.texts] == [str(i) for i in range(10)]
    assert (
        len({(c.get_facecolor().tobytes(), c.get_paths()[0].vertices.tobytes()) for c in many.collections})
        == 10
    )
    assert len(plots.projection(X).collections) == 1
    assert len(plots.projection(X, X[:, 0]).figure.axes) == 2  # with a scale of colours
    with pytest.raises(ValueError, match="there are 2 labels for 3 classes"):
        plots.projection(X, y, labels=["a", "b"])
    with pytest.raises(
        ValueError, match=r"\[projection\] X has shape \(30,\), but rows of numbers are needed"
    ):
        plots.projection(np.ones(30))


def test_projection_of_one_column():
    """Histograms: all samples are in them, each class's where its samples are."""
    X, y = blobs()
    X = X[:, :1] + 3.0 * y[:, None]
    ax = draw(plots.projection(X, y, labels=["a", "b", "c"], name="axis"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("axis 1", "samples")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b", "c"]
    all_edges = np.linspace(X.min(), X.max(), 21)
    for i, (patch, colour) in enumerate(zip(ax.patches, _style.colours(3), strict=True)):
        counts, edges, _ = patch.get_data()
        np.testing.assert_allclose(edges, all_edges)
        np.testing.assert_array_equal(counts, np.histogram(X[y == i], edges)[0])
        assert counts.sum() == (y == i).sum()
        np.testing.assert_array_equal(patch.get_edgecolor()[:3], colour)
    # Many classes have their names in them.
    many = plots.projection(np.arange(60.0)[:, None], np.arange(60) // 5)
    assert [t.get_text() for t in many.texts] == [str(i) for i in range(12)]
    np.testing.assert_allclose([t.xy[0] for t in many.texts], 5 * np.arange(12) + 2)
    assert many.get_legend() is None
    # Neither classes nor a legend; a real y is the other coordinate.
    alone = plots.projection(X)
    assert alone.patches[0].get_data().values.sum() == len(X)
    assert alone.get_legend() is None
    real = plots.projection(X, X[:, 0] / 2)
    np.testing.assert_array_equal(real.collections[0].get_offsets(), np.hstack([X, X / 2]))
    assert real.get_ylabel() == "y"


def test_projections():
    X, y, models = two_models()
    panels = plots.projections(X, y, models, labels=["a", "b", "c"], name="axis")
    assert [panel.get_title() for panel in panels] == ["PCA", "LinearDiscriminantAnalysis"]
    for panel, model in zip(panels, models, strict=True):
        for i in range(3):
            np.testing.assert_array_equal(
                panel.collections[i].get_offsets(), model.transform(X[y == i])[:, :2]
            )
        assert panel.get_xlabel() == "axis 1"
    assert [t.get_text() for t in panels[-1].get_legend().get_texts()] == ["a", "b", "c"]
    # Two models of a class are told apart by names that are given, and a single column is drawn, too.
    named = plots.projections(X, y, {"two": PCA(2).fit(X), "one": PCA(1).fit(X)})
    assert [panel.get_title() for panel in named] == ["two", "one"]
    assert [len(panel.collections) for panel in named] == [3, 0]
    # The legend shows the markers, though the last panel has none.
    legend = named[-1].get_legend().legend_handles
    assert [type(handle).__name__ for handle in legend] == ["PathCollection"] * 3
    assert all(panel.get_legend() is None for panel in plots.projections(X, X[:, 0], models))
    with pytest.raises(ValueError, match=r"\[projections\] there is no model"):
        plots.projections(X, y, [])


def projected_in(panel):
    """The axis of a projection, its histograms' corners, and the line between the classes, as they are drawn."""
    *_, axis, threshold = [np.column_stack(line.get_data()) for line in panel.lines]
    return axis, [patch.get_xy() for patch in panel.patches], threshold


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_fisher_directions():
    """One line joins the means, the other is that of the discriminant analysis."""
    X, y = two_normal_classes()
    means = [X[y == label].mean(axis=0) for label in ("a", "b")]
    fisher = LinearDiscriminantAnalysis().fit(X, y).coef_[0]
    assert abs(unit(fisher) @ unit(means[1] - means[0])) < 0.9
    for panel, expected in zip(plots.fisher_discriminant(X, y), (means[1] - means[0], fisher), strict=True):
        draw(panel)
        assert panel.get_aspect() == 1
        axis, _, threshold = projected_in(panel)
        np.testing.assert_allclose(unit(axis[1] - axis[0]), unit(expected), rtol=1e-9)
        # The classes are parted at right angles to it, in the middle between the means.
        assert abs(unit(threshold[1] - threshold[0]) @ unit(expected)) < 1e-9
        np.testing.assert_allclose(threshold @ expected, (means[0] + means[1]) @ expected / 2)
        # Each mean is marked, and its foot is on the axis.
        for mean, foot, mark in zip(means, panel.lines[0:4:2], panel.lines[1:4:2], strict=True):
            np.testing.assert_allclose(np.ravel(mark.get_data()), mean)
            ends = np.column_stack(foot.get_data())
            np.testing.assert_allclose(ends[0], mean)
            assert abs((ends[1] - ends[0]) @ unit(expected)) < 1e-9
            normal = unit(expected)[::-1] * [1, -1]
            np.testing.assert_allclose(ends[1] @ normal, axis[0] @ normal)


def test_fisher_histograms():
    """They hang on the axis below the samples, as long as the classes' shares."""
    X, y = two_normal_classes()
    panels = plots.fisher_discriminant(X, y, bins=12)
    for panel in panels:
        axis, outlines, threshold = projected_in(panel)
        along = unit(axis[1] - axis[0])
        normal = along[::-1] * [1, -1]
        normal *= -np.sign(normal[1])
        assert (X @ normal < axis[0] @ normal).all()
        np.testing.assert_allclose(axis @ along, [(X @ along).min(), (X @ along).max()])
        scales = []
        for label, outline in zip("ab", outlines, strict=True):
            projected = X[y == label] @ along
            edges = np.linspace(*(axis @ along), 13) + 1e-9 * (np.arange(13) - 6)  # clear of rounding
            shares = np.histogram(projected, edges)[0] / len(projected)
            heights = (outline - axis[0]) @ normal
            # A corner on the axis, two for every bin, a corner on the axis, and the first again.
            assert len(heights) == 27
            np.testing.assert_allclose(heights[1:25:2], heights[2:26:2], atol=1e-9)
            scales.append(heights[1:25:2].sum())
            np.testing.assert_allclose(heights[1:25:2] / scales[-1], shares, atol=1e-9)
        np.testing.assert_allclose(*scales)
        # The line between the classes goes through all of them.
        np.testing.assert_allclose(
            threshold @ normal, [(X @ normal).min(), (np.vstack(outlines) @ normal).max()]
        )
        # Nothing lies outside the axes.
        draw(panel)
        drawn = np.vstack([X, *outlines])
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        assert (drawn > [left, bottom]).all() and (drawn < [right, top]).all()
    # Both panels show the same part of the plane, at the same scale.
    corners = [(*panel.get_xlim(), *panel.get_ylim()) for panel in panels]
    np.testing.assert_allclose(*corners)


def test_fisher_criterion():
    X, y = two_normal_classes()
    is_a = y == "a"
    within = np.cov(X[is_a].T, bias=True) * is_a.mean() + np.cov(X[~is_a].T, bias=True) * (~is_a).mean()
    difference = X[~is_a].mean(axis=0) - X[is_a].mean(axis=0)

    def criterion(w):
        return (w @ difference) ** 2 / (w @ within @ w)

    titles = [panel.get_title().split("\n") for panel in plots.fisher_discriminant(X, y)]
    assert "difference of the means" in titles[0][0] and "Fisher's discriminant" in titles[1][0]
    fisher = np.linalg.solve(within, difference)
    for w, (_, said) in zip((difference, fisher), titles, strict=True):
        middle = (X[is_a].mean(axis=0) + X[~is_a].mean(axis=0)) @ w / 2
        wrong = np.mean((X @ w > middle) == is_a)
        assert said == f"J = {criterion(w):.3g}, {wrong:.1%} on the wrong side"
    angles = np.linspace(0, np.pi, 721)
    best = max(criterion(w) for w in np.column_stack([np.cos(angles), np.sin(angles)]))
    assert criterion(difference) < 0.5 * best < best <= criterion(fisher) < 1.001 * best


def test_fisher_of_classes_above_each_other():
    """The means' line goes straight up, and its projection stands on the right."""
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    panel = plots.fisher_discriminant(np.vstack([X, X + np.array([0.0, 4.0])]), np.arange(8) // 4)[0]
    axis, outlines, _ = projected_in(panel)
    assert axis[0, 0] == axis[1, 0] > 1
    assert all(outline[:, 0].max() > axis[0, 0] for outline in outlines)


def test_fisher_of_a_data_frame():
    pandas = pytest.importorskip("pandas")
    X, y = two_normal_classes()
    panels = plots.fisher_discriminant(pandas.DataFrame(X, columns=["width", "height"]), y, labels=["A", "B"])
    assert [(panel.get_xlabel(), panel.get_ylabel()) for panel in panels] == [("width", "height")] * 2
    assert [t.get_text() for t in panels[1].get_legend().get_texts()] == ["A", "B"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :1], y), r"X has shape \(240, 1\), but the plane has two features"),
        (lambda X, y: (X, y[:-1]), r"y has shape \(239,\), but X has 240 samples"),
        (lambda X, y: (X, y == "c"), "y has 1 classes, but two are needed"),
        (lambda X, y: (X, np.arange(240) % 3), "y has 3 classes, but two are needed"),
        (lambda X, y: (np.vstack([[[np.nan, 0.0]], X[1:]]), y), "X is nan at row 0, column 0"),
        (lambda X, y: (np.vstack([X, X]), np.arange(480) // 240), "the class means are equal"),
        (lambda X, y: (X[:, [0, 0]], y), "the covariance within classes is singular"),
        (lambda X, y: ((y == "a")[:, None] + X * [0, 1], y), "the covariance within classes is singular"),
        (lambda X, y: (X[[0, -1]], y[[0, -1]]), "the covariance within classes is singular"),
    ],
)
def test_fisher_needs_two_classes_in_a_plane(change, message):
    with pytest.raises(ValueError, match=rf"^\[fisher_discriminant\] {message}"):
        plots.fisher_discriminant(*change(*two_normal_classes()))


def test_bad_options_of_fisher():
    X, y = two_normal_classes()
    with pytest.raises(ValueError, match=r"^\[fisher_discriminant\] there are 3 labels for 2 classes"):
        plots.fisher_discriminant(X, y, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"^\[fisher_discriminant\] bins must be at least 1, got 0"):
        plots.fisher_discriminant(X, y, bins=0)


def test_confusion_matrix():
    truth, predicted = ["cat", "cat", "cat", "dog", "bird"], ["cat", "cat", "dog", "dog", "cat"]
    ax = plots.confusion_matrix(truth, predicted)
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in ax.texts}
    # Rows are true classes, sorted: bird, cat, dog.
    assert written == {(0, 1): "1", (1, 1): "2", (1, 2): "1", (2, 2): "1"}
    np.testing.assert_allclose(image_of(ax), [[0, 1, 0], [0, 2 / 3, 1 / 3], [0, 0, 1]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["bird", "cat", "dog"]
    percent = plots.confusion_matrix(truth, predicted, normalize=True, labels=["B", "C", "D"])
    assert sorted(t.get_text() for t in percent.texts) == ["100", "100", "33", "67"]


# ----------------------------------------------------------------------------------------------------------- images


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


# --------------------------------------------------------------------------------------------------------- topology


def test_every_weight_is_a_line():
    net = nn.Network([nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)])
    first, second = net.parameters()[0].value, net.parameters()[2].value
    first[...] = [[1.0, -0.5], [0.25, 0.0], [-0.75, 0.001]]
    second[...] = [[2.0], [-2.0]]
    ax = draw(plots.network_topology(net))
    lines, others = ax.collections
    # Zero, and what is nothing against the largest, are not drawn.
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
