"""What goes wrong silently in other libraries: shared weights, rebound views, copies, interrupted steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Flatten, Input, Layer, Sequential, ShapeError, Tanh
from tinynn.backend import Device, to_device, to_host
from tinynn.callbacks import Callback
from tinynn.check import gradients
from tinynn.losses import CategoricalCrossentropy

x = np.random.default_rng(0).normal(size=(12, 4))
rows = np.eye(3)[np.arange(12) % 3]


def model(**options: Any) -> Sequential:
    network = Sequential([Input((4,)), Dense(5, activation="relu"), Dense(3, activation="softmax")], seed=0, **options)
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return network


def test_a_layer_built_by_itself_keeps_its_weights_in_a_model() -> None:
    dense = Dense(3)
    y = dense(x)
    network = Sequential([dense], dtype="float64")
    np.testing.assert_allclose(network(x), y, rtol=1e-6)
    assert network.count_params() == 15
    assert np.shares_memory(dense.W, network.arena.values)
    other = Dense(3)
    other(x)
    with pytest.raises(ShapeError, match=r"dense \(Dense\) has weights for inputs of shape \(batch, 4\) already"):
        Sequential([Input((7,)), other]).build()


def test_a_build_that_fails_leaves_nothing_behind() -> None:
    class Fussy(Layer):
        fussy = True

        def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            if self.fussy:
                raise ShapeError("Fussy does not want to.")
            return input_shape

        def forward(self, x: Any, training: bool = False) -> Any:
            return x

    network = Sequential([Dense(5), Fussy()], seed=0)
    with pytest.raises(ShapeError, match=r"does not want to\. It comes from dense \(Dense\)"):
        network.build((9,))
    network.layers[1].fussy = False
    network.build((4,))
    assert network.count_params() == 25


def test_a_refused_layer_leaves_its_first_model_unharmed() -> None:
    first = model()
    before = first.predict(x)
    for thief in (Sequential([Input((4,)), first.layers[0]]), Sequential([Input((4,)), first])):
        with pytest.raises(ValueError, match="belongs to another model already"):
            thief.build()
        np.testing.assert_array_equal(first.predict(x), before)
        assert np.shares_memory(first.layers[0].W, first.arena.values)


def test_a_part_of_a_model_can_be_asked_but_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    inner = Sequential([Input((5,)), Dense(4), Dense(2)], name="inner")
    outer = Sequential([Dense(5), inner], seed=0, device="cpu")
    outer.compile("sgd", "mse")
    outer.fit(x, x[:, :2], verbose=0)
    outer.summary()
    assert "inner (Sequential)" in capsys.readouterr().out
    assert inner.count_params() == 34
    assert len(inner.get_weights()) == 4
    hidden = outer.layers[0](x.astype("float32"))
    np.testing.assert_allclose(inner.predict(hidden), outer.predict(x), rtol=1e-6)
    inner.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match=r"inner .* is a part of another model, which trains it"):
        inner.fit(hidden, x[:, :2], verbose=0)


def test_setting_a_weight_writes_into_the_arena() -> None:
    network = model()
    network.predict(x)
    dense = network.layers[0]
    view = dense.W
    dense.W = np.ones((4, 5))
    assert dense.W is view
    np.testing.assert_array_equal(network.get_weights()[0], 1)
    with pytest.raises(ShapeError, match=r"dense \(Dense\): W has the shape \(4, 5\), got \(4, 1\)"):
        dense.W = np.ones((4, 1))


def test_after_unbuild_a_weight_is_an_attribute_like_any_other() -> None:
    network = model()
    network.predict(x)
    dense = network.layers[0]
    network.unbuild()
    dense.W = None
    assert dense.W is None


def test_a_gradient_assigned_by_a_students_backward_trains() -> None:
    class Student(Dense):
        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            x = self.take_cache()
            self.activation.backward(dy)
            self.dW = x.T @ dy
            self.db = dy.sum(axis=0)
            return dy @ self.W.T

    assert gradients(Student(2), x).ok
    network = Sequential([Student(2)], seed=0)
    network.compile("sgd", "mse")
    losses = network.fit(x, x[:, :2], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_layers_inside_a_layer_are_found_once_wherever_they_are_kept() -> None:
    class Composite(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = Dense(4)
            self.all = [self.first, {"last": Dense(4)}]

        def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            return self.all[1]["last"].build_for(self.first.build_for(input_shape))

        def forward(self, x: Any, training: bool = False) -> Any:
            return self.all[1]["last"].forward(self.first.forward(x))

        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            return self.first.backward(self.all[1]["last"].backward(dy))

    network = Sequential([Input((4,)), Composite()], seed=0)
    assert network.count_params() == 40
    assert gradients(network, x).ok


def test_deep_copies_train_on_their_own() -> None:
    first = model()
    first.fit(x, rows, verbose=0)
    second = copy.deepcopy(first)
    np.testing.assert_array_equal(second.predict(x), first.predict(x))
    before = first.get_weights()
    second.fit(x, rows, epochs=3, verbose=0)
    assert np.shares_memory(second.layers[0].W, second.arena.values)
    for a, b in zip(before, first.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    first.fit(x, rows, epochs=3, verbose=0)  # the copy remembers Adam's averages and the order of shuffling too
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_step_leaves_the_softmax_in_its_place() -> None:
    class Interrupt(CategoricalCrossentropy):
        pass

    network = model()
    network.compile("adam", CategoricalCrossentropy())
    network.layers[0].forward = lambda x, training=False: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        network.train_on_batch(x, rows)
    with pytest.raises(KeyboardInterrupt):
        network.evaluate(x, rows)
    del network.layers[0].forward
    np.testing.assert_allclose(network.predict(x).sum(axis=1), 1, rtol=1e-6)


def test_losses_and_layers_of_ones_own_are_not_given_logits() -> None:
    class Doubled(CategoricalCrossentropy):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return 2 * super().call(y_true, y_pred)

        def gradient(self, dv: Any) -> Any:
            return 2 * super().gradient(dv)

    class DoubledAsAWhole(CategoricalCrossentropy):
        def forward(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Any:
            return 2 * super().forward(y_true, y_pred, sample_weight, mask)

        def backward(self) -> Any:
            return 2 * super().backward()

    network = model(dtype="float64")
    plain = network.evaluate(x, rows)[0]
    for loss in (Doubled(), DoubledAsAWhole()):
        assert not loss.can_take_logits_of(tinynn.Softmax())
        network.compile("sgd", loss)
        assert network.evaluate(x, rows) == pytest.approx(2 * plain)
        report = gradients(network, x, rows, loss)
        assert report.ok, report

    class Renamed(CategoricalCrossentropy):
        pass

    assert Renamed().can_take_logits_of(tinynn.Softmax())

    class Smoothed(Dense):
        def forward(self, x: Any, training: bool = False) -> Any:
            return 0.9 * super().forward(x, training) + 0.1 / 3

    smooth = Sequential([Smoothed(3, activation="softmax")], seed=0, dtype="float64")
    loss = CategoricalCrossentropy()
    smooth.compile("sgd", loss)
    smooth.build((4,))
    assert smooth.evaluate(x, rows) == pytest.approx(loss(rows, smooth.predict(x)))


def test_wrong_labels_do_not_fix_the_shape_of_a_model_that_was_not_built() -> None:
    images = np.zeros((20, 28, 28))
    network = Sequential([Dense(10, activation="softmax")], seed=0)
    for loss, y in (
        ("categorical_crossentropy", np.eye(10)[np.arange(20) % 10]),
        ("sparse_categorical_crossentropy", np.arange(20) % 10),
    ):
        network.compile("adam", loss)
        with pytest.raises(ValueError, match=r"is a Flatten\(\) missing before the first Dense layer"):
            network.fit(images, y, verbose=0)
        network.fit(images.reshape(20, 784), y, verbose=0)
        network.unbuild()
    Sequential([Flatten(), Dense(10)])(images)


def test_shapes_that_contradict_each_other_are_refused() -> None:
    network = Sequential([Input((4,)), Dense(3)])
    with pytest.raises(ShapeError, match=r"the model takes inputs of shape \(batch, 4\) already, got \(batch, 7\)"):
        network.build((7,))
    assert network.build((4,)) == (3,)
    with pytest.raises(ShapeError, match=r"dense_1 \(Dense\) was declared for inputs of shape \(batch, 9\)"):
        Sequential([Input((4,)), Dense(3), Dense(2, input_shape=(9,))]).build()


def test_the_last_steps_of_a_training_cannot_spoil_the_weights_unseen() -> None:
    network = Sequential([Dense(1)], seed=0)
    network.compile(tinynn.SGD(1e38), "mse")
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="in the last step of epoch 1"):
        network.fit(1e3 * x, x[:, :1], verbose=0, validation_data=(x, x[:, :1]))


def test_callbacks_that_fail_do_not_hide_the_error_or_each_other() -> None:
    ended = []

    class Ends(Callback):
        def on_train_end(self, logs: Any = None) -> None:
            ended.append(1)

    class Fails(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        model().fit(x, rows, verbose=0, callbacks=[Ends(), Fails(), Ends()])
    assert ended == [1, 1]

    class Stops(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.stop_training = True

    assert model().fit(x, rows, epochs=3, verbose=0, callbacks=[Stops()]).epoch == []
    with pytest.raises(TypeError, match=r"callbacks must be a list, such as \[Ends"):
        model().fit(x, rows, callbacks=Ends())


def test_a_metric_instance_counts_apart_for_each_who_asks() -> None:
    shares = []

    class Evaluates(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.evaluate(x[:1], rows[:1])
            shares.append(logs["categorical_accuracy"])

    network = model()
    network.compile("adam", "categorical_crossentropy", metrics=[tinynn.CategoricalAccuracy()])
    alone = model()
    alone.compile("adam", "categorical_crossentropy", metrics=[tinynn.CategoricalAccuracy()])
    watched = network.fit(x, rows, batch_size=4, verbose=0, callbacks=[Evaluates()])
    assert watched.history == alone.fit(x, rows, batch_size=4, verbose=0).history
    with pytest.raises(ValueError, match="metrics need names of their own"):
        network.compile("adam", "mse", metrics=["accuracy", "accuracy"])


def test_integers_given_to_a_layer_or_loss_are_numbers() -> None:
    pixels = np.array([[1, 2, 200]], dtype=np.uint8)
    np.testing.assert_allclose(tinynn.Sigmoid()(pixels), tinynn.Sigmoid()(pixels.astype("float32")))
    assert tinynn.Sigmoid()(pixels).dtype == np.float32
    assert tinynn.MeanSquaredError()([0.5], [1]) == 0.25


def test_a_layer_by_itself_lives_where_its_input_lives(device: Device) -> None:
    there = to_device(x.astype("float32"), device)
    dense = Dense(3, activation="tanh", kernel_initializer="ones")
    y = dense(there)
    dx = dense.backward(y)
    np.testing.assert_allclose(to_host(y), np.tanh(x.sum(axis=1, keepdims=True) * np.ones(3)), rtol=1e-5)
    assert dx.shape == x.shape


def test_predictions_are_the_callers_own() -> None:
    network = Sequential([Tanh()], dtype="float64")
    network.build((4,))
    assert not np.shares_memory(network.predict(x), x)
    linear = Sequential([tinynn.Linear()], dtype="float64")
    linear.build((4,))
    assert not np.shares_memory(linear.predict(x), x)


def test_scores_read_each_loss_once(fake_cupy: Any) -> None:
    from tests.guard import GuardArray

    class Watch(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

    network = model(device="cuda")
    GuardArray.waits = 0
    network.fit(np.tile(x, (50, 1)), np.tile(rows, (50, 1)), batch_size=6, verbose=0, callbacks=[Watch()])
    assert GuardArray.waits < 5 * 100


def test_verbose_stands_where_keras_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    network = model()
    assert network.evaluate(x, rows, 32, 0) == network.evaluate(x, rows, verbose=1)
    np.testing.assert_array_equal(network.predict(x, 32, 0), network.predict(x, verbose=2))
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="evaluate: verbose must be 'auto', 0, 1 or 2, got 'loud'"):
        network.evaluate(x, rows, verbose="loud")
