"""fit, evaluate, train_on_batch with weights and masks: what they do, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Flatten, Input, Layer, Sequential
from tinynn.backend import Device, to_device
from tinynn.losses import MeanSquaredError, SparseCategoricalCrossentropy
from tinynn.metrics import Metric

x = np.random.default_rng(1).normal(size=(12, 4))
classes = np.arange(12) % 3
rows = np.eye(3)[classes]
weights = np.random.default_rng(2).uniform(size=12)


class Mask(Layer):
    """Steps of -1 do not count, if it is on."""

    on = True

    def forward(self, x: Any, training: bool = False) -> Any:
        self.cache = ()
        return x

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        return dy

    def compute_mask(self, x: Any, mask: Any) -> Any:
        return (x != -1).any(axis=-1) if self.on else None


def model(loss: Any = "sparse_categorical_crossentropy", **options: Any) -> Sequential:
    network = Sequential([Input((4,)), Dense(5, activation="tanh"), Dense(3, activation="softmax")], seed=0, **options)
    network.compile(tinynn.SGD(0.1), loss, metrics=["accuracy"])
    return network


def trained(y: Any = classes, loss: Any = "sparse_categorical_crossentropy", **options: Any) -> list[np.ndarray]:
    network = model(loss, dtype="float64")
    network.fit(x, y, batch_size=5, epochs=2, verbose=0, **options)
    return network.get_weights()


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.allclose(p, q, rtol=1e-12, atol=1e-15) for p, q in zip(a, b, strict=True))


def test_weights_go_with_their_samples_through_shuffling_and_splits() -> None:
    """A sample without weight may hold anything: the training does not see it."""
    w = np.where(np.arange(12) < 5, 0.0, 1.0)
    spoilt = np.where(np.arange(12) < 5, 2 - classes, classes)
    plain = trained(sample_weight=w)
    assert same(plain, trained(spoilt, sample_weight=w))
    assert same(trained(sample_weight=w, validation_split=0.5), trained(spoilt, sample_weight=w, validation_split=0.5))
    assert not same(plain, trained(spoilt, sample_weight=np.ones(12)))


def test_weights_of_one_change_nothing() -> None:
    plain = trained()
    for ones in (np.ones(12), [[1]] * 12):
        assert same(plain, trained(sample_weight=ones))
    assert same(plain, trained(class_weight={0: 1, 1: 1, 2: 1}))


@pytest.mark.parametrize(("y", "loss"), [(classes, "sparse_categorical_crossentropy"), (rows, "categorical_hinge")])
def test_class_weights_are_sample_weights(y: np.ndarray, loss: str) -> None:
    by_class = trained(y, loss, class_weight={0: 0.5, 1: 2.0, 2: 1.5})
    assert same(by_class, trained(y, loss, sample_weight=np.array([0.5, 2.0, 1.5])[classes]))
    assert not same(by_class, trained(y, loss))


def test_class_weights_are_for_training_not_for_validation() -> None:
    histories = []
    for class_weight in (None, {0: 0.5, 1: 2.0, 2: 1.5}):
        network = model(dtype="float64")
        network.compile(tinynn.SGD(0.0), "sparse_categorical_crossentropy")
        fitted = network.fit(x, classes, verbose=0, class_weight=class_weight, validation_data=(x, classes))
        histories.append(fitted.history)
    assert histories[0]["val_loss"] == histories[1]["val_loss"]
    assert histories[0]["loss"] != histories[1]["loss"]


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1]])
def test_class_weights_of_one_output(labels: list[int]) -> None:
    y = np.array(labels)[np.arange(12) % 2][:, None]
    results = []
    for options in (
        {"class_weight": {labels[0]: 1.0, labels[1]: 3.0}},
        {"sample_weight": np.where(y[:, 0] == 1, 3.0, 1.0)},
    ):
        network = Sequential([Dense(1)], seed=0)
        network.compile("sgd", "hinge")
        network.fit(x, y, verbose=0, **options)
        results.append(network.get_weights())
    assert same(*results)


def test_evaluate_weighs_and_does_not_depend_on_the_batch_size() -> None:
    network = model(dtype="float64")
    expected = SparseCategoricalCrossentropy()(classes, network.predict(x), weights)
    for batch_size in (5, 12):
        assert network.evaluate(x, classes, batch_size, 0, weights)[0] == pytest.approx(expected, rel=1e-12)
    assert network.train_on_batch(x, classes, weights)[0] == pytest.approx(expected, rel=1e-12)


def test_metrics_look_at_weights_only_where_asked_to() -> None:
    network = model(dtype="float64")
    network.compile(
        "sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy", "perplexity"]
    )
    scores = network.evaluate(x, classes, sample_weight=weights, return_dict=True)
    assert list(scores) == ["loss", "accuracy", "weighted_accuracy", "perplexity"]
    hits = network.predict(x).argmax(axis=1) == classes
    assert scores["accuracy"] == pytest.approx(hits.mean())
    assert scores["weighted_accuracy"] == pytest.approx((hits * weights).sum() / weights.sum())
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"] * 12 / weights.sum()))
    history = network.fit(x, classes, verbose=0, sample_weight=weights, validation_data=(x, classes, weights)).history
    assert set(history) == {*scores, *(f"val_{name}" for name in scores)}
    plain = network.evaluate(x, classes, return_dict=True)
    assert plain["accuracy"] == plain["weighted_accuracy"]


def test_one_s_own_metric_need_not_know_weights() -> None:
    class Samples(Metric):
        name = "samples"

        def reset_state(self) -> None:
            self.count = 0

        def update_state(self, y_true: Any, y_pred: Any) -> None:
            self.count += len(y_true)

        def result(self) -> float:
            return float(self.count)

    network = model()
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=[Samples()])
    assert network.fit(x, classes, 5, verbose=0, sample_weight=weights).history["samples"] == [12]


# Masks ------------------------------------------------------------------------------------------------------------

steps = np.random.default_rng(3).normal(size=(8, 5, 4))
LENGTHS = np.array([5, 3, 1, 4, 0, 2, 5, 3])
for i, length in enumerate(LENGTHS):
    steps[i, length:] = -1
counts = np.arange(5) < LENGTHS[:, None]
step_classes = np.random.default_rng(4).integers(3, size=(8, 5))


def tagger(*after: Layer, masked: bool = True, **options: Any) -> Sequential:
    start = Mask()
    start.on = masked
    network = Sequential([Input((5, 4)), start, *(after or [Dense(3, activation="softmax")])], seed=0, **options)
    network.compile(tinynn.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def test_padded_steps_count_neither_in_the_loss_nor_in_its_gradient_nor_in_metrics(device: Device) -> None:
    network = tagger(dtype="float64", device=device)
    reference = tagger(masked=False, dtype="float64")
    p = reference.predict(steps)
    loss = SparseCategoricalCrossentropy()
    expected = loss(step_classes[counts], p[counts])
    accuracy = (p.argmax(axis=-1) == step_classes)[counts].mean()
    assert network.evaluate(steps, step_classes) == pytest.approx([expected, accuracy], rel=1e-12)
    assert network.train_on_batch(steps, step_classes) == pytest.approx([expected, accuracy], rel=1e-12)
    # The same step taken on the steps that count, as samples of their own
    alone = Sequential([Input((4,)), Dense(3, activation="softmax")], dtype="float64", seed=0)
    alone.compile(tinynn.SGD(0.1), "sparse_categorical_crossentropy")
    alone.set_weights(reference.get_weights())
    alone.train_on_batch(steps[counts], step_classes[counts])
    assert same(network.get_weights(), alone.get_weights())


def test_what_stands_at_padded_steps_does_not_matter() -> None:
    results = []
    for y in (step_classes, np.where(counts, step_classes, 2)):
        network = tagger(Dense(6, activation="relu"), Dense(3, activation="softmax"), dtype="float64")
        history = network.fit(steps, y, 4, 3, verbose=0, sample_weight=np.linspace(0, 1, 8))
        results.append((network.get_weights(), history.history))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_masks_and_weights_meet_in_weighted_metrics() -> None:
    network = tagger(dtype="float64")
    network.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    hits = network.predict(steps).argmax(axis=-1) == step_classes
    for w in (np.linspace(0.5, 1, 8), np.linspace(0, 1, 40).reshape(8, 5)):
        of_steps = counts * (w if w.ndim == 2 else w[:, None])
        found = network.evaluate(steps, step_classes, sample_weight=w)[1]
        assert found == pytest.approx((hits * of_steps).sum() / of_steps.sum(), rel=1e-12)


def test_a_mask_of_steps_that_are_no_more_is_dropped() -> None:
    """A sum over the steps is one value a sample, which no mask of steps is about."""

    class KeepsItsMask(Flatten):
        def compute_mask(self, x: Any, mask: Any) -> Any:
            return mask

    results = []
    for masked in (True, False):
        network = tagger(KeepsItsMask(), Dense(3, activation="softmax"), masked=masked, dtype="float64")
        results.append(network.fit(steps, step_classes[:, 0], verbose=0).history)
    assert results[0] == results[1]


def test_all_steps_masked_is_no_loss_and_no_step() -> None:
    network = tagger(dtype="float64")
    before = network.get_weights()
    assert network.train_on_batch(np.full((2, 5, 4), -1.0), step_classes[:2]) == [0, 0]
    assert same(before, network.get_weights())


@pytest.mark.parametrize("device_name", ["cuda"])
def test_weights_and_masks_do_not_wait_for_the_device(fake_cupy: Any, device_name: str) -> None:
    from tests.guard import GuardArray

    network = tagger(device=device_name)
    samples = [np.tile(array, (20, *(1,) * (array.ndim - 1))) for array in (steps, step_classes, counts)]
    network.fit(*samples[:2], batch_size=8, verbose=0, sample_weight=samples[2])
    GuardArray.waits = 0
    scores = network.scores_for(samples[1])
    parts = network.trained_parts("fit")
    batch = [to_device(array[:8], network.device) for array in samples]
    for _ in range(5):
        network.train_step(parts, network.cast(batch[0]), batch[1], scores, "here", batch[2].astype("float32"))
    assert GuardArray.waits == 0


# Mistakes ---------------------------------------------------------------------------------------------------------

with_nan = np.where(np.arange(12) == 4, np.nan, 1.0)
MISTAKES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "too few weights",
        lambda: model().fit(x, classes, sample_weight=weights[:7]),
        ValueError,
        r"fit: x has 12 samples and sample_weight has 7; each sample needs one weight",
    ),
    (
        "negative weights",
        lambda: model().evaluate(x, classes, sample_weight=-weights),
        ValueError,
        "evaluate: sample_weight must hold numbers from 0 up, got -0.8.*Use 0 for a sample",
    ),
    (
        "NaN",
        lambda: model().train_on_batch(x, classes, with_nan),
        ValueError,
        r"train_on_batch: sample_weight holds 1 NaN or infinite values, the first at sample_weight\[\(4,\)\]",
    ),
    ("no array", lambda: model().fit(x, classes, sample_weight=2.0), TypeError, "fit: sample_weight: expected a NumPy"),
    (
        "a dictionary",
        lambda: model().fit(x, classes, sample_weight={0: 1.0}),
        TypeError,
        "sample_weight must be an array.* is class_weight meant",
    ),
    (
        "a weight for each output",
        lambda: model().fit(x, classes, sample_weight=np.ones((12, 3))),
        ValueError,
        r"fit: sample_weight: SparseCategoricalCrossentropy expected weights of shape \(12,\), .* got \(12, 3\)",
    ),
    (
        "in the validation data",
        lambda: model().fit(x, classes, validation_data=(x, classes, weights[:3])),
        ValueError,
        "fit: validation_data: x has 12 samples and sample_weight has 3",
    ),
    (
        "validation data of four",
        lambda: model().fit(x, classes, validation_data=(x, classes, weights, 1)),
        ValueError,
        r"validation_data must be a tuple \(x, y\), got 4 entries. A third entry may be the sample weights",
    ),
    (
        "both",
        lambda: model().fit(x, classes, sample_weight=weights, class_weight={0: 1, 1: 1, 2: 1}),
        ValueError,
        "fit: give class_weight or sample_weight, not both",
    ),
    (
        "a class without weight",
        lambda: model().fit(x, classes, class_weight={0: 1.0, 2: 3.0}),
        ValueError,
        "fit: class_weight has no weight for the class 1, which is among the targets. .*such as 1: 1.0",
    ),
    (
        "a weight without class",
        lambda: model("categorical_crossentropy").fit(x, rows, class_weight={0: 1, 1: 1, 2: 1, 3: 2}),
        ValueError,
        "fit: class_weight has a weight for 3, but the classes are 0 to 2",
    ),
    (
        "a name of a class",
        lambda: model().fit(x, classes, class_weight={"cat": 1.0}),
        ValueError,
        "has a weight for 'cat', but the classes are 0 to 2",
    ),
    (
        "a negative weight of a class",
        lambda: model().train_on_batch(x, classes, class_weight={0: 1, 1: -1, 2: 1}),
        ValueError,
        r"train_on_batch: class_weight\[1\] must be a number from 0 up, got -1",
    ),
    (
        "a list",
        lambda: model().fit(x, classes, class_weight=[1, 1, 1]),
        TypeError,
        r"class_weight must be a dictionary of class numbers and weights, such as \{0: 1.0, 1: 5.0\}, got list",
    ),
    (
        "targets that are numbers",
        lambda: model("mse").fit(x, x[:, :3], class_weight={0: 1.0}),
        ValueError,
        r"class_weight needs targets that are classes: .* got the shape \(12, 3\) of float64.*use sample_weight",
    ),
    (
        "several labels at once",
        lambda: model("binary_crossentropy").fit(x, np.ones((12, 3)), class_weight={0: 1.0}),
        ValueError,
        "class_weight needs targets that are classes",
    ),
    (
        "a column of numbers",
        lambda: regression().fit(x, x[:, :1], class_weight={0: 1.0, 1: 1.0}),
        ValueError,
        r"class_weight needs targets that are classes: .* got the shape \(12, 1\)",
    ),
    (
        "no reduction",
        lambda: model(MeanSquaredError(reduction=None)),
        ValueError,
        "MeanSquaredError: training makes one number smaller, and the reduction None gives one for every sample",
    ),
    (
        "weighted metrics as text",
        lambda: model().compile("sgd", "mse", weighted_metrics="accuracy"),
        TypeError,
        r"weighted_metrics must be a list, such as weighted_metrics=\['accuracy'\]",
    ),
    (
        "weighted metrics of one name",
        lambda: model().compile("sgd", "mse", weighted_metrics=["mae", "mae", "mae"]),
        ValueError,
        "metrics need names of their own",
    ),
]


def regression() -> Sequential:
    network = Sequential([Input((4,)), Dense(1)], seed=0)
    network.compile("sgd", "mse")
    return network


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


def test_a_loss_that_knows_no_weights_is_refused_at_once() -> None:
    class Old(tinynn.losses.Loss):
        def forward(self, y_true: Any, y_pred: Any) -> Any:
            return ((y_pred - y_true) ** 2).mean()

    with pytest.raises(TypeError, match=r"Old: training calls forward\(self, y_true, .* sample_weight=None.*call\("):
        model(Old())
