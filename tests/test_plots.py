"""The pictures show the right numbers, in the right places, and wrong input is told what to do."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynn
from tinynn import plots
from tinynn.callbacks import History

REPOSITORY = Path(__file__).parents[1]
LONG_NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
LOGS = {
    "loss": [0.5, 0.3, 0.2],
    "accuracy": [0.8, 0.9, 0.95],
    "val_loss": [0.4, 0.35, 0.36],
    "val_accuracy": [0.85, 0.9, 0.89],
}


def trained(**logs):
    history = History()
    epochs = len(next(iter(logs.values()))) if logs else 0
    for epoch in range(epochs):
        history.on_epoch_end(epoch, {name: values[epoch] for name, values in logs.items()})
    return history


def curves(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def cells(figure):
    """Return the texts of a confusion matrix by (row, column)."""
    places = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    return {(row, column): text for (column, row), text in places.items()}


def captions(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def title(figure):
    return figure.get_suptitle()


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def texts_of(figure):
    """Return where the texts of a figure stand, in pixels, after its layout is done."""
    figure.draw_without_rendering()
    texts = [axes.title for axes in figure.axes] + [label for axes in figure.axes for label in axes.get_yticklabels()]
    texts += [label for axes in figure.axes for label in axes.texts]
    return {text: text.get_window_extent() for text in texts if text.get_text()}


def luminance(rgb):
    """Return how bright a colour is seen, as WCAG 2 defines it."""
    rgb = np.asarray(rgb, dtype=float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def assert_texts_apart(figure):
    boxes = texts_of(figure)
    for (one, box), (other, other_box) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(other_box), f"{one.get_text()!r} and {other.get_text()!r} overlap"
    for text, box in boxes.items():
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1, f"{text.get_text()!r} is cut off"


def probabilities(said, sure, classes):
    """Return rows with the probability `sure` for `said`; the others share the rest."""
    said, sure = np.array(said), np.array(sure)
    p = np.repeat((1 - sure)[:, None] / (classes - 1), classes, axis=1)
    p[np.arange(len(said)), said] = sure
    return p


class TestHistory:
    def test_draws_loss_and_metric_of_training_and_validation_from_epoch_1(self):
        loss, accuracy = plots.history(trained(**LOGS)).axes
        assert curves(loss) == {"training": ([1, 2, 3], LOGS["loss"]), "validation": ([1, 2, 3], LOGS["val_loss"])}
        assert curves(accuracy) == {
            "training": ([1, 2, 3], LOGS["accuracy"]),
            "validation": ([1, 2, 3], LOGS["val_accuracy"]),
        }
        assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
        assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"

    def test_has_one_axes_without_metrics(self):
        (axes,) = plots.history(trained(loss=[0.5, 0.4])).axes
        assert curves(axes) == {"training": ([1, 2], [0.5, 0.4])}

    def test_tells_several_metrics_apart(self):
        _, axes = plots.history(trained(loss=[1.0], accuracy=[0.5], val_accuracy=[0.6], precision=[0.7])).axes
        assert curves(axes) == {
            "training accuracy": ([1], [0.5]),
            "validation accuracy": ([1], [0.6]),
            "training precision": ([1], [0.7]),
        }
        assert len({line.get_color() for line in axes.lines}) == 3

    @pytest.mark.parametrize("epochs", [1, 2, 3, 7, 100])
    def test_ticks_are_whole_epochs(self, epochs):
        figure = plots.history(trained(loss=[0.5] * epochs))
        figure.draw_without_rendering()
        (axes,) = figure.axes
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)

    def test_a_single_epoch_can_be_seen(self):
        (axes,) = plots.history(trained(loss=[0.5])).axes
        assert axes.lines[0].get_marker() == "o"

    def test_labels_of_nearly_equal_values_are_whole(self):
        figure = plots.history(trained(loss=[0.98101, 0.98102, 0.98103]))
        figure.draw_without_rendering()
        assert figure.axes[0].yaxis.get_offset_text().get_text() == ""

    def test_draws_what_fit_returns_and_history_plot_does_it_too(self, tmp_path):
        model = tinynn.Sequential([tinynn.Dense(2, activation="softmax")], seed=0, device="cpu")
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        x, y = np.eye(4, dtype="float32"), np.array([0, 1, 0, 1])
        history = model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y))
        figure = history.plot(tmp_path / "history.png")
        assert curves(figure.axes[0])["validation"] == ([1, 2, 3], history.history["val_loss"])
        assert is_png(tmp_path / "history.png")

    def test_refuses_what_is_no_history(self):
        with pytest.raises(TypeError, match=r"expected the History that fit returns, got Sequential.*model\.fit"):
            plots.history(tinynn.Sequential([tinynn.Dense(1)]))

    def test_refuses_a_history_without_epochs(self):
        with pytest.raises(ValueError, match="no finished epoch to draw; train at least one"):
            plots.history(trained())


class TestConfusionMatrix:
    true = (0, 0, 0, 1, 1, 2, 2, 2)
    said = (0, 0, 1, 1, 1, 2, 0, 0)

    def test_counts_true_in_rows_and_said_in_columns(self):
        figure = plots.confusion_matrix(self.true, self.said)
        assert cells(figure) == {
            (0, 0): "2", (0, 1): "1", (0, 2): "",
            (1, 0): "",  (1, 1): "2", (1, 2): "",
            (2, 0): "2", (2, 1): "",  (2, 2): "1",
        }  # fmt: skip
        assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("true", "said")
        assert figure.axes[0].get_title() == "3 of 8 wrong, accuracy 0.6250"

    def test_colours_are_mistakes_in_percent_of_the_row_and_never_the_diagonal(self):
        image = plots.confusion_matrix(self.true, self.said).axes[0].images[0]
        rates = image.get_array()
        assert np.ma.getmaskarray(rates).tolist() == np.eye(3, dtype=bool).tolist()
        assert rates[0, 1] == pytest.approx(100 / 3)
        assert rates[2, 0] == pytest.approx(200 / 3)
        assert image.get_clim() == (0, pytest.approx(200 / 3))

    @pytest.mark.parametrize("kind", ["numbers", "column", "floats", "one-hot", "probabilities"])
    def test_takes_numbers_and_rows(self, kind):
        true, said = np.array(self.true), np.array(self.said)
        shaped = {
            "numbers": (true.astype("uint8"), said),
            "column": (true[:, None], said[:, None]),
            "floats": (true.astype("float32"), said.astype("float32")),
            "one-hot": (tinynn.to_categorical(true), tinynn.to_categorical(said)),
            "probabilities": (true, probabilities(said, [0.9] * 8, 3)),
        }[kind]
        assert cells(plots.confusion_matrix(*shaped)) == cells(plots.confusion_matrix(true, said))

    def test_takes_yes_and_no(self):
        p = np.array([[0.9], [0.2], [0.7]])
        assert cells(plots.confusion_matrix([1, 0, 0], p > 0.5)) == {(0, 0): "1", (0, 1): "1", (1, 0): "", (1, 1): "1"}

    def test_shows_classes_that_do_not_occur(self):
        figure = plots.confusion_matrix([0, 1], [0, 1], class_names=["a", "b", "c"])
        assert cells(figure)[2, 2] == "0"
        assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a", "b", "c"]
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]

    def test_numbers_stand_out_from_their_ground(self):
        # Class 0 is taken for class i i times, so the cells of row 0 have every colour of the scale.
        said = np.repeat(np.arange(40), np.arange(40))
        figure = plots.confusion_matrix(np.zeros_like(said), said)
        (image,) = figure.axes[0].images
        grounds = image.cmap(image.norm(image.get_array()))[0]
        for ground, text in zip(grounds, figure.axes[0].texts[:40], strict=True):
            light, dark = sorted([luminance(ground[:3]), luminance(np.full(3, text.get_color() == "white"))])[::-1]
            assert (light + 0.05) / (dark + 0.05) > 4.5, text.get_text()  # what WCAG 2 asks of text

    @pytest.mark.parametrize("classes", [2, 10, 30])
    def test_texts_do_not_overlap(self, classes):
        rng = np.random.default_rng(0)
        true = np.concatenate([rng.integers(0, classes, 5000), np.zeros(95000, int)])
        said = np.concatenate([rng.integers(0, classes, 5000), np.zeros(95000, int)])
        assert_texts_apart(plots.confusion_matrix(true, said))

    def test_long_numbers_fit_their_cells(self):
        million = np.zeros(1_000_000, int)
        figure = plots.confusion_matrix(million, million, class_names=[str(i) for i in range(10)])
        figure.draw_without_rendering()
        (axes,) = [axes for axes in figure.axes if axes.texts]
        (text,) = [text for text in axes.texts if text.get_text() == "1000000"]
        assert text.get_window_extent().width < axes.get_window_extent().width / 10

    def test_long_names_of_classes_do_not_overlap(self):
        figure = plots.confusion_matrix(np.arange(10), np.arange(10), class_names=LONG_NAMES)
        assert_texts_apart(figure)
        assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {45}

    @pytest.mark.parametrize(
        ("true", "said", "names", "message"),
        [
            ([0, 1, 1], [0, 1], None, "lengths differ: y_true 3, y_pred 2"),
            ([0, -1], [0, 1], None, "y_true must hold class numbers.*got -1"),
            ([0, 1], [0.3, 1.0], None, r"y_pred must hold class numbers.*got 0\.3.*\(p > 0\.5\)\.astype\(int\)"),
            ([0, 1], np.zeros((2, 3, 4)), None, r"y_pred must be class numbers.*got the shape \(2, 3, 4\)"),
            ([], [], None, "y_true is empty"),
            ([0.0, np.nan], [0, 1], None, "y_true holds 1 NaN"),
            ([0, 2], [0, 1], ["a", "b"], "class_names has 2 names for 3 classes"),
            ([0, 999], [0, 1], None, "draws at most 50 classes, got 1000"),
        ],
    )
    def test_says_what_is_wrong(self, true, said, names, message):
        with pytest.raises(ValueError, match=message):
            plots.confusion_matrix(true, said, class_names=names)

    def test_writes_a_png(self, tmp_path):
        plots.confusion_matrix([0, 1], [0, 1], tmp_path / "confusion.png")
        assert is_png(tmp_path / "confusion.png")


class TestMistakes:
    true = (0, 1, 2, 0, 1)
    y_pred = probabilities([1, 1, 0, 2, 2], [0.7, 1.0, 0.95, 0.8, 0.6], 3)
    x = np.arange(5 * 16, dtype="float32").reshape(5, 16)

    def test_shows_the_surest_mistakes_first_and_nothing_that_is_right(self):
        figure = plots.mistakes(self.x, self.true, self.y_pred)
        assert captions(figure) == [
            "said 0 (95.0%)\ntrue 2",
            "said 2 (80.0%)\ntrue 0",
            "said 1 (70.0%)\ntrue 0",
            "said 2 (60.0%)\ntrue 1",
        ]
        assert title(figure) == "4 of 4 mistakes in 5 samples, worst first"

    def test_shows_the_image_of_the_caption(self):
        figure = plots.mistakes(self.x, self.true, self.y_pred, count=2)
        shown = [axes.images[0].get_array() for axes in figure.axes]
        # Sample 2 is the worst, then 3; the scale of the grey is the shown images' own.
        low, high = self.x[2].min(), self.x[3].max()
        for image, sample in zip(shown, (2, 3), strict=True):
            np.testing.assert_allclose(image, (self.x[sample].reshape(4, 4) - low) / (high - low))

    def test_count_takes_the_worst(self):
        figure = plots.mistakes(self.x, self.true, self.y_pred, count=1)
        assert captions(figure) == ["said 0 (95.0%)\ntrue 2"]
        assert title(figure) == "1 of 4 mistakes in 5 samples, worst first"

    def test_takes_one_hot_targets_and_names(self):
        figure = plots.mistakes(
            self.x, tinynn.to_categorical(self.true), self.y_pred, class_names=["cat", "dog", "cow"]
        )
        assert captions(figure)[0] == "said cat (95.0%)\ntrue cow"

    @pytest.mark.parametrize(
        ("shape", "image_shape", "drawn"),
        [
            ((16,), None, (4, 4)),
            ((12,), (3, 4), (3, 4)),
            ((12,), (2, 2, 3), (2, 2, 3)),
            ((3, 4), None, (3, 4)),
            ((3, 4, 1), None, (3, 4)),
            ((3, 4, 3), None, (3, 4, 3)),
            ((16,), (2, 8, 1), (2, 8)),
        ],
    )
    def test_image_shapes(self, shape, image_shape, drawn):
        x = np.random.default_rng(0).integers(0, 255, (5, *shape)).astype("uint8")
        figure = plots.mistakes(x, self.true, self.y_pred, image_shape=image_shape)
        for axes in figure.axes:
            image = axes.images[0].get_array()
            assert image.shape == drawn
            assert 0 <= image.min() <= image.max() <= 1

    def test_takes_images_of_one_colour(self):
        figure = plots.mistakes(np.zeros((5, 16)), self.true, self.y_pred)
        assert len(figure.axes) == 4

    def test_a_model_without_mistakes_is_no_error(self, tmp_path):
        figure = plots.mistakes(self.x, self.y_pred.argmax(axis=1), self.y_pred, tmp_path / "none.png")
        assert title(figure) == "No mistakes in 5 samples"
        assert figure.axes == []
        assert is_png(tmp_path / "none.png")

    def test_does_not_write_into_its_input(self):
        x, y_pred = self.x.copy(), self.y_pred.copy()
        plots.mistakes(x, self.true, y_pred)
        np.testing.assert_array_equal(x, self.x)
        np.testing.assert_array_equal(y_pred, self.y_pred)

    @pytest.mark.parametrize("names", [None, LONG_NAMES])
    def test_captions_do_not_overlap(self, names):
        rng = np.random.default_rng(0)
        y_pred = rng.dirichlet(np.full(10, 0.3), 40)
        figure = plots.mistakes(rng.random((40, 784)), rng.integers(0, 10, 40), y_pred, class_names=names)
        assert len(captions(figure)) == 25
        assert_texts_apart(figure)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"x": np.zeros((4, 16))}, "lengths differ: x 4, y_true 5, y_pred 5"),
            ({"x": np.zeros((5, 12))}, r"12 values cannot be drawn as a square\. Give image_shape="),
            ({"x": np.zeros((5, 2, 2, 2))}, r"8 values cannot be drawn as an image of shape \(2, 2, 2\)"),
            ({"image_shape": (4, 5)}, r"16 values cannot be drawn as an image of shape \(4, 5\)"),
            ({"image_shape": 4}, r"16 values cannot be drawn as an image of shape \(4,\)"),
            ({"image_shape": (4, -4)}, "image_shape: expected the shape"),
            ({"y_pred": [1, 1, 0, 2, 2]}, r"y_pred must hold probabilities.*\(5,\)\. Give what model\.predict"),
            ({"y_pred": np.full((5, 1), 0.5)}, r"shape \(5, 1\).*numpy\.hstack"),
            ({"y_pred": np.full((5, 3), 7.0)}, "numbers from 7 to 7. If these are logits"),
            ({"y_true": [0, 1, 2, 0, 3]}, "y_true has the class 3, but y_pred has 3 columns"),
            ({"count": 0}, "count must be a whole number from 1 up, got 0"),
            ({"class_names": ["a", "b"]}, "class_names has 2 names for 3 classes"),
        ],
    )
    def test_says_what_is_wrong(self, change, message):
        arguments = {"x": self.x, "y_true": self.true, "y_pred": self.y_pred} | change
        with pytest.raises(ValueError, match=message):
            plots.mistakes(**arguments)

    def test_writes_a_png(self, tmp_path):
        plots.mistakes(self.x, self.true, self.y_pred, tmp_path / "mistakes.png")
        assert is_png(tmp_path / "mistakes.png")


class TestWeights:
    W = np.random.default_rng(0).normal(size=(16, 6)) * [1, 5, 0.1, 3, 0, 2]

    def test_draws_columns_as_images_the_largest_norm_first(self):
        figure = plots.weights(self.W)
        assert captions(figure) == ["unit 1", "unit 3", "unit 5", "unit 0", "unit 2", "unit 4"]
        for axes, unit in zip(figure.axes[:6], (1, 3, 5, 0, 2, 4), strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), self.W[:, unit].reshape(4, 4))
        assert title(figure) == "6 of 6 units, largest weights first"

    def test_count_takes_the_units_with_the_largest_norm(self):
        figure = plots.weights(self.W, count=2)
        assert captions(figure) == ["unit 1", "unit 3"]
        assert title(figure) == "2 of 6 units, largest weights first"

    def test_one_scale_symmetric_about_0_with_a_bar(self):
        *units, bar = plots.weights(self.W).axes
        limits = {axes.images[0].get_clim() for axes in units}
        ((low, high),) = limits
        assert low == -high < 0
        assert 0.5 * abs(self.W).max() < high <= abs(self.W).max()
        assert bar.get_ylim() == (low, high)
        assert bar.get_ylabel() == "weight"

    def test_weight_0_is_white_and_signs_are_red_and_blue(self):
        image = plots.weights(self.W).axes[0].images[0]
        colour = {sign: image.cmap(image.norm(sign * 2.0))[:3] for sign in (-1, 0, 1)}
        assert min(colour[0]) > 0.95
        assert colour[1][0] > colour[1][2]
        assert colour[-1][0] < colour[-1][2]

    def test_takes_other_shapes_and_a_model_s_weights(self):
        model = tinynn.Sequential([tinynn.Input((12,)), tinynn.Dense(5)], seed=0, device="cpu")
        model.build()
        figure = plots.weights(model.layers[0].W, image_shape=(3, 4))
        assert figure.axes[0].images[0].get_array().shape == (3, 4)

    def test_all_zeros_can_be_drawn(self, tmp_path):
        plots.weights(np.zeros((4, 3)), tmp_path / "weights.png")
        assert is_png(tmp_path / "weights.png")

    def test_captions_do_not_overlap(self):
        figure = plots.weights(np.random.default_rng(0).normal(size=(784, 1200)))
        assert len(captions(figure)) == 64
        assert_texts_apart(figure)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"W": np.zeros(16)}, r"expected the matrix of a first Dense layer.*\(16,\)\. Give model\.layers\[0\]\.W"),
            ({"W": np.zeros((3, 3, 1, 8))}, r"got the shape \(3, 3, 1, 8\)"),
            ({"W": np.zeros((15, 2))}, r"15 values cannot be drawn as a square\. Give image_shape="),
            ({"W": np.zeros((12, 2)), "image_shape": (2, 2, 3)}, r"must be \(height, width\).*one colour at a time"),
            ({"W": np.full((4, 2), np.nan)}, "W holds 8 NaN"),
            ({"W": np.zeros((4, 2)), "count": 2.5}, "count must be a whole number"),
        ],
    )
    def test_says_what_is_wrong(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            plots.weights(**arguments)


class TestMatplotlib:
    def run(self, code):
        return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)

    @pytest.mark.parametrize(
        "draw",
        [
            plots.need_matplotlib,
            lambda: plots.history(trained(**LOGS)),
            lambda: plots.confusion_matrix([0], [0]),
            lambda: plots.mistakes(np.zeros((1, 4)), [0], [[0.1, 0.9]]),
            lambda: plots.weights(np.zeros((4, 1))),
        ],
    )
    def test_without_it_the_message_names_the_extra(self, draw, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r"plots needs matplotlib.*extra 'viz' \(pip install '\.\[viz\]'\)"):
            draw()

    def test_is_not_imported_before_it_is_needed(self):
        result = self.run("import sys, tinynn.plots; assert 'matplotlib' not in sys.modules")
        assert result.returncode == 0, result.stderr

    def test_pyplot_and_its_global_state_are_not_touched(self):
        result = self.run(
            "import sys, tinynn.plots as p; p.confusion_matrix([0], [0]); p.weights([[1.0]]); "
            "assert 'matplotlib.pyplot' not in sys.modules"
        )
        assert result.returncode == 0, result.stderr

    def test_the_example_stops_before_it_trains(self, tmp_path):
        result = self.run(
            "import runpy, sys; sys.modules['matplotlib'] = None; "
            f"sys.argv = ['mnist_pictures.py', '--to', {str(tmp_path / 'pictures')!r}]; "
            "runpy.run_path('examples/mnist_pictures.py')"
        )
        assert ".[viz]" in result.stderr
        assert "Epoch" not in result.stdout
        assert not (tmp_path / "pictures").exists()


def test_the_learning_rate_has_a_panel_of_its_own() -> None:
    trained = History()
    trained.on_epoch_end(0, {"loss": 0.5, "accuracy": 0.8, "learning_rate": 1e-3})
    assert [axes.get_ylabel() for axes in trained.plot().axes] == ["loss", "accuracy", "learning_rate"]
