"""The moments of evaluate and predict, and of the validation data in fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tinynn
from tinynn import Callback, Dense, Input, LambdaCallback, Sequential, TensorBoard

x = np.random.default_rng(1).normal(size=(40, 4))
y = x[:, :1]
LOGS = ["loss", "mae"]


def regression() -> Sequential:
    model = Sequential([Input((4,)), Dense(1)], seed=0)
    model.compile(tinynn.SGD(0.1), "mse", metrics=["mae"])
    model.build()
    return model


def noting(calls: list[Any], kind: str) -> LambdaCallback:
    def note(name: str) -> Any:
        return lambda *arguments: calls.append((name, *(a if isinstance(a, int) else sorted(a) for a in arguments)))

    names = [f"on_{kind}_{when}" for when in ("begin", "end", "batch_begin", "batch_end")]
    return LambdaCallback(**{name: note(name) for name in names})


def moments(kind: str, batches: int, logs: list[str], ends: list[str]) -> list[Any]:
    of_batches = [
        call
        for batch in range(batches)
        for call in ((f"on_{kind}_batch_begin", batch, []), (f"on_{kind}_batch_end", batch, logs))
    ]
    return [(f"on_{kind}_begin", []), *of_batches, (f"on_{kind}_end", ends)]


def test_evaluate_and_predict_call_their_moments() -> None:
    calls: list[Any] = []
    model = regression()
    expected = model.evaluate(x, y, verbose=0)
    assert model.evaluate(x, y, batch_size=16, verbose=0, callbacks=[noting(calls, "test")]) == pytest.approx(expected)
    assert calls == moments("test", 3, LOGS, LOGS)
    calls.clear()
    model.predict(x, batch_size=16, verbose=0, callbacks=[noting(calls, "predict")])
    assert calls == moments("predict", 3, ["outputs"], [])


def test_the_moments_get_the_scores_and_the_outputs() -> None:
    class Keeps(Callback):
        scores: Any = None

        def __init__(self) -> None:
            self.outputs: list[np.ndarray] = []

        def on_test_end(self, logs: Any = None) -> None:
            self.scores = logs

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            self.outputs.append(logs["outputs"])

    keeps, model = Keeps(), regression()
    assert model.evaluate(x, y, verbose=0, callbacks=[keeps], return_dict=True) == keeps.scores
    assert keeps.params == {"steps": 1, "samples": 40, "verbose": 0}
    assert keeps.model is model
    np.testing.assert_array_equal(model.predict(x, 16, verbose=0, callbacks=[keeps]), np.concatenate(keeps.outputs))


def test_validation_in_fit_is_an_evaluation() -> None:
    calls: list[Any] = []
    regression().fit(x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=[noting(calls, "test")])
    assert calls == moments("test", 1, LOGS, LOGS) * 2
    calls.clear()
    regression().fit(x, y, verbose=0, callbacks=[noting(calls, "test")])
    assert calls == []


def test_tensorboard_writes_evaluations(tmp_path: Path) -> None:
    model, board = regression(), TensorBoard(tmp_path)
    history = model.fit(x, y, batch_size=10, epochs=2, verbose=0, validation_data=(x, y), callbacks=[board]).history
    loss, _ = model.evaluate(x, y, verbose=0, callbacks=[board])
    run = EventAccumulator(str(tmp_path / "validation")).Reload()
    found = [(event.step, event.value) for event in run.Scalars("evaluation_loss_vs_iterations")]
    losses = [float(np.float32(value)) for value in (*history["val_loss"], loss)]
    assert found == list(zip((4, 8, 8), losses, strict=True))


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_callbacks_that_are_none_are_refused(method: str) -> None:
    data = (x, y) if method == "evaluate" else (x,)
    with pytest.raises(TypeError, match=rf"{method}: callbacks must be a list, such as \[LambdaCallback"):
        getattr(regression(), method)(*data, verbose=0, callbacks=LambdaCallback())
    with pytest.raises(TypeError, match=f"{method}: callbacks must be instances of tinynn.callbacks.Callback, got 5"):
        getattr(regression(), method)(*data, verbose=0, callbacks=[5])
