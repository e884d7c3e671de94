"""The kernels of the recurrent layers compute what the plain lines compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn
from tests.guard import GuardArray
from tests.layers.test_recurrent import every_kind, made
from tinynn import layers
from tinynn.layers.gru import GRU
from tinynn.layers.lstm import LSTM
from tinynn.layers.recurrent import SimpleRNN

SETTINGS: dict[str, dict[str, Any]] = {
    "by itself": {},
    "all steps": {"return_sequences": True},
    "states": {"return_sequences": True, "return_state": True},
    "no bias, backwards": {"use_bias": False, "go_backwards": True},
    "dropout": {"dropout": 0.3, "recurrent_dropout": 0.4, "return_sequences": True},
    "truncated": {"truncate": 2, "return_sequences": True},
    "truncated, the last step": {"truncate": 4, "recurrent_dropout": 0.4},
    "relu": {"activation": "relu", "return_sequences": True},
    "linear": {"activation": None},
    "sigmoid": {"activation": "sigmoid"},
}


def outcome(layer: Any, plain: bool, dtype: str, mask: bool, start: bool) -> list[np.ndarray]:
    """Return everything that a forward and a backward pass make."""
    rng = np.random.default_rng(3)
    layer.plain = plain
    layer.rng = np.random.default_rng(4)
    x = rng.normal(size=(5, 6, 2)).astype(dtype)
    options: dict[str, Any] = {"mask": rng.random((5, 6)) < 0.6} if mask else {}
    if start:
        options["initial_state"] = [rng.normal(size=(5, 3)).astype(dtype) for _ in layer.states]
    y = layer.forward(x, training=True, **options)
    outputs = y if isinstance(y, list) else [y]
    dy = [rng.normal(size=output.shape).astype(dtype) for output in outputs]
    for parameter in layer.parameters:
        parameter.grad[...] = np.nan
    dx = layer.backward(dy if isinstance(y, list) else dy[0])
    return [*outputs, dx, *(parameter.grad.copy() for parameter in layer.parameters), *(layer.dinitial_state or [])]


@every_kind
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("start", [False, True])
def test_the_kernel_is_the_plain_lines(kind: Any, options: dict[str, Any], dtype: str, mask: bool, start: bool) -> None:
    layer = made(kind, **options)
    if dtype == "float32":
        for parameter in layer.parameters:
            parameter.bind(parameter.value.astype(dtype), parameter.grad.astype(dtype))
    fast, plain = (outcome(layer, p, dtype, mask, start) for p in (False, True))
    last_bits = 8 * np.finfo(dtype).eps
    assert len(fast) == len(plain)
    for ours, theirs in zip(fast, plain, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=last_bits, atol=last_bits)


@every_kind
def test_gates_of_other_activations(kind: Any) -> None:
    if kind is SimpleRNN:
        return
    for name in ("tanh", "relu", "linear"):
        layer = made(kind, recurrent_activation=name, return_sequences=True)
        for ours, theirs in zip(*(outcome(layer, p, "float64", True, True) for p in (False, True)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


@every_kind
def test_gradients_that_lie_otherwise_in_memory(kind: Any) -> None:
    results = []
    for order in ("C", "F"):
        layer = made(kind, return_sequences=True, return_state=True)
        outputs = layer.forward(np.random.default_rng(0).normal(size=(5, 6, 2)))
        dy = [np.asarray(np.cos(output), order=order) for output in outputs]
        results.append([layer.backward(dy), *(parameter.grad for parameter in layer.parameters)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_kernel_runs_by_default_and_plain_chooses() -> None:
    for kind in (SimpleRNN, LSTM, GRU):
        layer = kind(3)
        assert layer.is_fast()
        layer.plain = True
        assert not layer.is_fast()


def test_a_subclass_that_writes_the_plain_lines_anew_runs_them() -> None:
    class Mine(LSTM):
        def run(self, a: Any, n: Any, mask: Any, start: Any) -> Any:
            h, last, kept = super().run(a, n, mask, start)
            return h * 2, last, kept

    class Renamed(LSTM):
        pass

    x = np.ones((1, 6, 2))
    np.testing.assert_allclose(made(Mine)(x), 2 * made(LSTM)(x), rtol=1e-12)
    assert Renamed(3).is_fast()


def test_the_choice_is_made_in_forward() -> None:
    layer = made(LSTM)
    x = np.ones((1, 6, 2))
    y = layer(x)
    layer.plain = True
    dx = layer.backward(np.ones_like(y))
    layer(x)
    np.testing.assert_allclose(layer.backward(np.ones_like(y)), dx, rtol=1e-13)


@pytest.mark.parametrize("mask", [False, True])
@every_kind
def test_nothing_is_added_where_only_the_last_step_is_given_on(
    kind: Any, mask: bool, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding 0 would be a launch on a device, for every step."""
    added = []
    add = GuardArray.__iadd__

    def noted(self: Any, other: Any) -> Any:
        added.append(other)
        return add(self, other)

    monkeypatch.setattr(GuardArray, "__iadd__", noted)
    inside = [layers.Masking()] if mask else []
    model = tinynn.Sequential([layers.Input((6, 2)), *inside, made(kind)], seed=0, device="cuda")
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((5, 6, 2)), np.zeros((5, 3)))
    assert added
    assert not [number for number in added if isinstance(number, int)]
