"""Plots of classes: decision regions, projections, Fisher's criterion, confusion matrices."""

from __future__ import annotations

import numpy as np
import pytest
from perceptrons import blobs
from pictures import draw, halves, image_of, two_models, two_normal_classes

from steepest import plots
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.neural_network import MLPClassifier, MLPRegressor
from steepest.plots import _style

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("probabilities", [False, True])
def test_decision_regions(probabilities):
    X, y, model = halves()
    ax = draw(plots.decision_regions(model, X, y, probabilities=probabilities, resolution=51))
    image = image_of(ax)
    assert image.shape == (51, 51, 3)
    assert ((image >= 0) & (image <= 1)).all()
    colours = _style.colours(2)
    for column, colour in ((0, colours[0]), (-1, colours[1])):
        # Regions have the colour of the class, mixed with white.
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
    with pytest.raises(
        ValueError, match=r"\[decision_regions\] X must have two columns, got shape \(40, 3\)"
    ):
        plots.decision_regions(model, np.ones((40, 3)))


def wave():
    """A regressor of two features whose targets are whole numbers."""
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
    # Predictions and samples share a colour scale.
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
    assert len(plots.projection(X, y).figure.axes) == 2  # the second is a colour bar
    assert plots.projection(X[:, :1], y).get_ylabel() == "y"
    models = [PCA(2).fit(X)]
    assert len(plots.projections(X, y.astype(np.float32), models)[0].collections) == 1
    # Integer targets are classes, and so are targets with `labels`.
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
    assert len(plots.projection(X, X[:, 0]).figure.axes) == 2  # the second is a colour bar
    with pytest.raises(ValueError, match="there are 2 labels for 3 classes"):
        plots.projection(X, y, labels=["a", "b"])
    with pytest.raises(
        ValueError, match=r"\[projection\] X has shape \(30,\), but rows of numbers are needed"
    ):
        plots.projection(np.ones(30))


def test_projection_of_one_column():
    """A projection on one column draws histograms of all samples, each at the samples of its class."""
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
    # With many classes the legend is replaced by names inside the plot.
    many = plots.projection(np.arange(60.0)[:, None], np.arange(60) // 5)
    assert [t.get_text() for t in many.texts] == [str(i) for i in range(12)]
    np.testing.assert_allclose([t.xy[0] for t in many.texts], 5 * np.arange(12) + 2)
    assert many.get_legend() is None
    # Without y there are no classes and no legend; real targets become the other coordinate.
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
    # Given names distinguish two models of one class, and a model with a single column is drawn too.
    named = plots.projections(X, y, {"two": PCA(2).fit(X), "one": PCA(1).fit(X)})
    assert [panel.get_title() for panel in named] == ["two", "one"]
    assert [len(panel.collections) for panel in named] == [3, 0]
    # The legend shows markers, even though the last panel has none.
    legend = named[-1].get_legend().legend_handles
    assert [type(handle).__name__ for handle in legend] == ["PathCollection"] * 3
    assert all(panel.get_legend() is None for panel in plots.projections(X, X[:, 0], models))
    with pytest.raises(ValueError, match=r"\[projections\] models must have at least one item"):
        plots.projections(X, y, [])


def projected_in(panel):
    """Return a panel's projection axis, the corners of its histograms, and the line between the classes."""
    *_, axis, threshold = [np.column_stack(line.get_data()) for line in panel.lines]
    return axis, [patch.get_xy() for patch in panel.patches], threshold


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_fisher_directions():
    """One panel projects on the line between the means, the other on the discriminant direction."""
    X, y = two_normal_classes()
    means = [X[y == label].mean(axis=0) for label in ("a", "b")]
    fisher = LinearDiscriminantAnalysis().fit(X, y).coef_[0]
    assert abs(unit(fisher) @ unit(means[1] - means[0])) < 0.9
    for panel, expected in zip(plots.fisher_discriminant(X, y), (means[1] - means[0], fisher), strict=True):
        draw(panel)
        assert panel.get_aspect() == 1
        axis, _, threshold = projected_in(panel)
        np.testing.assert_allclose(unit(axis[1] - axis[0]), unit(expected), rtol=1e-9)
        # The decision line is orthogonal to the projection axis, midway between the means.
        assert abs(unit(threshold[1] - threshold[0]) @ unit(expected)) < 1e-9
        np.testing.assert_allclose(threshold @ expected, (means[0] + means[1]) @ expected / 2)
        # Each mean is marked, with a perpendicular to the axis.
        for mean, foot, mark in zip(means, panel.lines[0:4:2], panel.lines[1:4:2], strict=True):
            np.testing.assert_allclose(np.ravel(mark.get_data()), mean)
            ends = np.column_stack(foot.get_data())
            np.testing.assert_allclose(ends[0], mean)
            assert abs((ends[1] - ends[0]) @ unit(expected)) < 1e-9
            normal = unit(expected)[::-1] * [1, -1]
            np.testing.assert_allclose(ends[1] @ normal, axis[0] @ normal)


def test_fisher_histograms():
    """Histograms hang on the axis below the samples; bar lengths are proportions of the class."""
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
            edges = np.linspace(*(axis @ along), 13) + 1e-9 * (np.arange(13) - 6)  # avoids rounding at edges
            shares = np.histogram(projected, edges)[0] / len(projected)
            heights = (outline - axis[0]) @ normal
            # Corners: one on the axis, two for every bin, one on the axis, and the first again.
            assert len(heights) == 27
            np.testing.assert_allclose(heights[1:25:2], heights[2:26:2], atol=1e-9)
            scales.append(heights[1:25:2].sum())
            np.testing.assert_allclose(heights[1:25:2] / scales[-1], shares, atol=1e-9)
        np.testing.assert_allclose(*scales)
        # The line between the classes spans the samples and the histograms.
        np.testing.assert_allclose(
            threshold @ normal, [(X @ normal).min(), (np.vstack(outlines) @ normal).max()]
        )
        # Everything lies inside the axes.
        draw(panel)
        drawn = np.vstack([X, *outlines])
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        assert (drawn > [left, bottom]).all() and (drawn < [right, top]).all()
    # Both panels have the same limits and scale.
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
    """If the line between the means is vertical, its histograms are drawn on the right."""
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
        (lambda X, y: (X[:, :1], y), r"X must have two columns, got shape \(240, 1\)"),
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
    # Rows are the sorted true classes: bird, cat, dog.
    assert written == {(0, 1): "1", (1, 1): "2", (1, 2): "1", (2, 2): "1"}
    np.testing.assert_allclose(image_of(ax), [[0, 1, 0], [0, 2 / 3, 1 / 3], [0, 0, 1]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["bird", "cat", "dog"]
    percent = plots.confusion_matrix(truth, predicted, normalize=True, labels=["B", "C", "D"])
    assert sorted(t.get_text() for t in percent.texts) == ["100", "100", "33", "67"]


def test_confusion_matrix_of_a_classifier():
    X, y, model = halves()
    ax = plots.confusion_matrix(y[::-1], model, X)
    expected = [
        [np.sum((y[::-1] == a) & (model.predict(X) == b)) for b in model.classes_] for a in model.classes_
    ]
    written = {(t.get_position()[1], t.get_position()[0]): int(t.get_text()) for t in ax.texts}
    assert written == {(i, j): n for (i, j), n in np.ndenumerate(expected) if n}
    for arguments in ((y, model), (y, y, X)):
        with pytest.raises(TypeError, match=r"\[confusion_matrix\] X must be given with a classifier"):
            plots.confusion_matrix(*arguments)
    with pytest.raises(ValueError, match=r"must have one shape \(n,\), got \(40,\) and \(39,\)"):
        plots.confusion_matrix(y, y[1:])
    with pytest.raises(ValueError, match=r"\[confusion_matrix\] there are 3 labels for 2 classes"):
        plots.confusion_matrix(y, y, labels=["a", "b", "c"])
