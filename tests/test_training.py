"""fit, evaluate, predict: what they do to data, model and terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, Flatten, Input, ReLU, Sequential, Sigmoid, Softmax
from tinynn.callbacks import Callback, ProgressBar
from tinynn.losses import BinaryCrossentropy, CategoricalCrossentropy, MeanSquaredError

x = np.random.default_rng(1).normal(size=(40, 4))
labels = (x[:, 0] + x[:, 1] > 0).astype(int)
one_hot = np.eye(2)[labels]


def classifier(seed: int | None = 0, **options: Any) -> Sequential:
    model = Sequential([Input((4,)), Dense(8, activation="tanh"), Dense(2, activation="softmax")], seed=seed, **options)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def test_it_learns() -> None:
    model = classifier()
    history = model.fit(x, one_hot, batch_size=8, epochs=200, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    loss, accuracy = model.evaluate(x, one_hot)
    assert accuracy > 0.9
    assert loss < 0.4
    assert (model.predict(x).argmax(axis=1) == labels).mean() == pytest.approx(accuracy)


def test_one_seed_gives_the_same_bits() -> None:
    runs = []
    for _ in range(2):
        model = classifier(seed=7)
        model.fit(x, one_hot, batch_size=8, epochs=3, verbose=0, validation_split=0.25)
        runs.append(model.get_weights())
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_seed_networks_differ_and_say_theirs() -> None:
    first, second = classifier(seed=None), classifier(seed=None)
    assert first.seed != second.seed
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])
    again = classifier(seed=first.seed)
    np.testing.assert_array_equal(again.get_weights()[0], first.get_weights()[0])


def test_history_counts_samples_not_batches() -> None:
    model = classifier()
    history = model.fit(x[:33], one_hot[:33], batch_size=32, epochs=1, verbose=0, shuffle=False)
    fresh = classifier()
    losses = [fresh.train_on_batch(x[:32], one_hot[:32]), fresh.train_on_batch(x[32:33], one_hot[32:33])]
    expected = (32 * losses[0][0] + losses[1][0]) / 33
    assert history.history["loss"] == [pytest.approx(expected, rel=1e-6)]
    assert set(history.history) == {"loss", "accuracy"}


def test_evaluate_does_not_depend_on_the_batch_size() -> None:
    model = classifier(dtype="float64")
    whole = model.evaluate(x, one_hot, return_dict=True)
    assert model.evaluate(x, one_hot, batch_size=7, return_dict=True) == pytest.approx(whole)
    assert list(whole) == ["loss", "accuracy"]
    np.testing.assert_allclose(model.predict(x, batch_size=7), model.predict(x), rtol=1e-12)


def test_without_metrics_evaluate_and_train_on_batch_return_the_loss_alone() -> None:
    model = Sequential([Dense(2)])
    model.compile("sgd", "mse")
    assert isinstance(model.train_on_batch(x, one_hot), float)
    assert isinstance(model.evaluate(x, one_hot), float)


def test_validation_split_is_random_seeded_and_kept_out_of_training() -> None:
    seen: list[np.ndarray] = []

    class Watch(tinynn.layers.Layer):
        def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
            if training:
                seen.append(x[:, 0].copy())
            self.cache = ()
            return x

        def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray:
            self.take_cache()
            return dy

    numbers = np.arange(40.0)[:, None]
    sets = []
    for seed in (0, 0, 1):
        seen.clear()
        model = Sequential([Watch(), Dense(1)], seed=seed)
        model.compile("sgd", "mse")
        history = model.fit(numbers / 40, numbers / 40, batch_size=8, epochs=2, verbose=0, validation_split=0.25)
        assert "val_loss" in history.history
        sets.append({round(float(v) * 40) for batch in seen for v in batch})
    assert sets[0] == sets[1] != sets[2]
    assert all(len(kept) == 30 for kept in sets)
    assert sets[0] != set(range(30))  # not simply the first ones


def test_shuffle_takes_every_sample_once_in_a_new_order_each_epoch() -> None:
    orders = []

    class Watch(Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            orders.append(batch)

    seen: list[float] = []

    class Loss(MeanSquaredError):
        def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            seen.extend(y_true[:, 0])
            return super().call(y_true, y_pred)

    numbers = np.arange(20.0)[:, None]
    model = Sequential([Dense(1, kernel_initializer="zeros")], seed=0, dtype="float64")
    model.compile(tinynn.SGD(0.0), Loss())
    model.fit(numbers, numbers, batch_size=6, epochs=2, verbose=0, callbacks=[Watch()])
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]
    assert seen[:20] != sorted(seen[:20])
    assert orders == [0, 1, 2, 3] * 2
    seen.clear()
    model.fit(numbers, numbers, batch_size=6, verbose=0, shuffle=False)
    assert seen == list(range(20))


def test_data_are_not_written_into_and_integers_are_cast_by_batch() -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(20, 3, 3), dtype=np.uint8)
    before = images.copy()
    model = Sequential([Flatten(), Dense(2, activation="softmax")], seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, np.arange(20) % 2, epochs=1, verbose=0)
    np.testing.assert_array_equal(images, before)
    assert model.predict(images).dtype == np.float32


@pytest.mark.parametrize(
    ("end", "loss", "y"),
    [
        ([Dense(3, activation="softmax")], "categorical_crossentropy", np.eye(3)[np.arange(40) % 3]),
        ([Dense(3), Softmax()], "categorical_crossentropy", np.eye(3)[np.arange(40) % 3]),
        ([Dense(3, activation="softmax")], "sparse_categorical_crossentropy", np.arange(40) % 3),
        ([Dense(3, activation="sigmoid")], "binary_crossentropy", np.eye(3)[np.arange(40) % 3]),
        ([Dense(3), Sigmoid()], "binary_crossentropy", np.eye(3)[np.arange(40) % 3]),
        ([Sequential([Dense(3, activation="softmax")])], "sparse_categorical_crossentropy", np.arange(40) % 3),
    ],
)
def test_cross_entropy_trains_on_logits_as_the_long_way_would(end: list[Any], loss: str, y: np.ndarray) -> None:
    model = Sequential([Dense(5, activation="tanh"), *end], dtype="float64", seed=4)
    model.compile(tinynn.SGD(0.0), loss)
    model.train_on_batch(x, y)
    short = model.arena.grads.copy()
    predictions = model.forward(x, training=True)
    np.testing.assert_allclose(predictions.sum() if "categ" in loss else 1, 40 if "categ" in loss else 1)
    long_way = tinynn.losses.get(loss)
    long_way.forward(y, predictions)
    model.backward(long_way.backward())
    np.testing.assert_allclose(model.arena.grads, short, rtol=1e-9, atol=1e-12)
    assert np.abs(short).max() > 1e-3


def test_a_softmax_along_another_axis_is_not_set_aside(rng: np.random.Generator) -> None:
    data, y = rng.normal(size=(4, 3, 2)), np.eye(2)[rng.integers(2, size=(4, 3))]
    model = Sequential([Dense(2), Softmax(axis=1)], dtype="float64", seed=0)
    loss = CategoricalCrossentropy()
    model.compile(tinynn.SGD(0.0), loss)
    assert model.train_on_batch(data, y) == pytest.approx(loss(y, model.predict(data)))


def test_logits_survive_where_probabilities_would_be_zero() -> None:
    model = Sequential([Input((1,)), Dense(2, activation="softmax", kernel_initializer="zeros")])
    model.compile(tinynn.SGD(0.0), "categorical_crossentropy")
    model.set_weights([np.array([[1000.0, -1000.0]]), np.zeros(2)])
    assert model.evaluate(np.ones((1, 1)), np.array([[0.0, 1.0]])) == pytest.approx(2000.0)
    model.train_on_batch(np.ones((1, 1)), np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(model.layers[0].db, [1.0, -1.0])


def test_a_loss_on_logits_by_hand_leaves_the_model_alone() -> None:
    model = Sequential([Dense(2)], dtype="float64", seed=0)
    loss = CategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    model.fit(x, one_hot, verbose=0)
    assert model.evaluate(x, one_hot)[0] == pytest.approx(loss(one_hot, model.predict(x)))


def test_backward_stops_at_the_first_layer_that_learns(rng: np.random.Generator) -> None:
    asked = []

    class Watch(Dense):
        def backward(self, dy: np.ndarray, need_dx: bool = True) -> Any:
            asked.append(need_dx)
            return super().backward(dy, need_dx)

    model = Sequential([Flatten(), ReLU(), Watch(3), Watch(2)])
    model.compile("sgd", "mse")
    model.train_on_batch(rng.normal(size=(5, 2, 2)), np.zeros((5, 2)))
    assert asked == [True, False]
    assert all(layer.cache is None for layer in model.layers)


def test_models_remember_nothing_of_the_data_afterwards() -> None:
    model = classifier()
    model.fit(x, one_hot, verbose=0)
    model.predict(x)
    model.evaluate(x, one_hot)
    assert all(layer.cache is None for layer in model.walk())


def test_callbacks_are_called_in_order_with_logs() -> None:
    calls: list[Any] = []

    class Watch(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            calls.append(("begin", self.params["epochs"], self.params["steps"]))

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            calls.append(("epoch", epoch))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(("batch", batch, sorted(logs)))
            self.model.stop_training = batch == 1 and len(calls) > 6

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            calls.append(("end of epoch", epoch, sorted(logs)))

        def on_train_end(self, logs: Any = None) -> None:
            calls.append("end")

    names = ["accuracy", "loss"]
    history = classifier().fit(x, one_hot, batch_size=20, epochs=9, verbose=0, callbacks=[Watch()])
    assert calls == [
        ("begin", 9, 2),
        ("epoch", 0),
        ("batch", 0, names),
        ("batch", 1, names),
        ("end of epoch", 0, names),
        ("epoch", 1),
        ("batch", 0, names),
        ("batch", 1, names),
        ("end of epoch", 1, names),
        "end",
    ]
    assert history.epoch == [0, 1]


def test_verbose_prints_one_line_an_epoch_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    classifier().fit(x, one_hot, epochs=2, validation_data=(x, one_hot))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/2", "Epoch 2/2"]
    assert all(name in lines[0] for name in (" - loss: ", "- accuracy: ", "- val_loss: ", "- val_accuracy: "))
    classifier().fit(x, one_hot, epochs=2, verbose=0)
    assert capsys.readouterr().out == ""


def test_live_bar_draws_and_goes_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    bar = ProgressBar(live=True)
    model = classifier()
    bar.model, bar.params = model, {"epochs": 1, "steps": 4, "samples": 40, "verbose": 1}
    bar.on_epoch_begin(0)
    bar.on_train_batch_begin(0)
    assert bar.wants_batch()
    bar.on_train_batch_end(1, {"loss": 0.5})
    assert not bar.wants_batch()  # just drawn
    bar.on_epoch_end(0, {"loss": 0.25})
    out = capsys.readouterr().out
    assert "2/4" in out
    assert "loss: 0.5000" in out
    assert out.rstrip().endswith("loss: 0.2500")


def test_nan_loss_stops_with_step_and_advice() -> None:
    class Explode(MeanSquaredError):
        def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            return super().call(y_true, y_pred) * (np.float32(np.nan) if model.optimizer.iterations == 6 else 1)

    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", Explode())
    with pytest.raises(FloatingPointError, match=r"became nan at epoch 2, batch 3 .*smaller learning rate") as caught:
        model.fit(x, x[:, :1], batch_size=10, epochs=3, verbose=0)
    assert "before that step changed the weights" in str(caught.value)
    assert model.optimizer.iterations == 6
    assert len(model.history.epoch) == 1
    assert np.isfinite(model.predict(x)).all()


def test_nan_loss_on_a_device_is_found_at_the_next_look(fake_cupy: Any) -> None:
    model = Sequential([Dense(1)], seed=0, device="cuda")
    model.compile(tinynn.SGD(1e30), "mse")
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(FloatingPointError, match=r"became (inf|nan) at epoch 1, batch [23]"),
    ):
        model.fit(x, x[:, :1], batch_size=10, epochs=3, verbose=0)


def test_ctrl_c_leaves_a_usable_model_and_its_history() -> None:
    class PressCtrlC(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model.optimizer.iterations == 6:
                os.kill(os.getpid(), signal.SIGINT)

    model = classifier()
    handler = signal.getsignal(signal.SIGINT)
    history = model.fit(x, one_hot, batch_size=10, epochs=5, verbose=0, callbacks=[PressCtrlC()])
    assert history.interrupted
    assert history.epoch == [0]
    assert model.optimizer.iterations in (6, 7)  # the signal arrives within a batch
    assert signal.getsignal(signal.SIGINT) is handler
    again = model.fit(x, one_hot, batch_size=10, epochs=2, verbose=0)
    assert not again.interrupted
    assert again.epoch == [0, 1]


def test_a_second_ctrl_c_raises_at_once() -> None:
    class PressTwice(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, one_hot, batch_size=10, epochs=5, verbose=0, callbacks=[PressTwice()])
    assert model.history.interrupted
    model.evaluate(x, one_hot)


def test_ctrl_c_in_a_program_ends_it_cleanly(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import numpy as np, tinynn
            model = tinynn.Sequential([tinynn.Dense(64), tinynn.Dense(1)], seed=0)
            model.compile(tinynn.SGD(1e-4), "mse")
            history = model.fit(np.ones((512, 64)), np.ones((512, 1)), epochs=100000)
            print("interrupted", history.interrupted, np.isfinite(model.predict(np.ones((1, 64)))).all())
        """)
    )
    process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Epoch 3/"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""
    assert out.splitlines()[-2].startswith("Interrupted after ")
    assert out.splitlines()[-1] == "interrupted True True"


def test_binary_targets_with_one_sigmoid_output() -> None:
    model = Sequential([Dense(8, activation="tanh"), Dense(1, activation="sigmoid")], seed=0)
    model.compile(tinynn.Adam(0.01), BinaryCrossentropy(), metrics=["accuracy"])
    history = model.fit(x, labels[:, None], epochs=100, verbose=0)
    assert history.history["accuracy"][-1] > 0.9
    assert history.history["loss"][-1] < history.history["loss"][0]
