"""Models that were changed after they were made, or are made in ways of one's own: what a file holds of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.io.test_model_file import X, network
from tinynn.io import load_model


def test_a_schedule_that_came_or_went_after_compile_is_in_the_file(tmp_path: Path) -> None:
    rates = []
    for first, then in ((0.5, tinynn.schedules.CosineDecay(0.5, 100)), (tinynn.schedules.CosineDecay(0.5, 100), 0.25)):
        model = tinynn.Sequential([tinynn.Input((2,)), tinynn.Dense(1)], seed=0)
        model.compile(tinynn.SGD(first), "mse")
        model.optimizer.learning_rate = then
        model.save(tmp_path / "model.tinynn")
        twin = load_model(tmp_path / "model.tinynn")
        for each in (model, twin):
            each.fit(np.ones((64, 2)), np.ones((64, 1)), verbose=0)
            rates.append(each.optimizer.learning_rate)
    assert rates[0] == rates[1] != 0.5
    assert rates[2] == rates[3] == 0.25


@tinynn.register
class Head(tinynn.Sequential):
    """A model of one's own, as people write them: its constructor has other arguments."""

    def __init__(self, units: int, bias: bool = True) -> None:
        super().__init__([tinynn.Dense(units, activation="relu"), tinynn.Dense(1, use_bias=bias)])


@pytest.mark.parametrize("inside", [False, True])
def test_a_subclass_with_a_constructor_of_its_own_comes_back(inside: bool, tmp_path: Path) -> None:
    model: Any = Head(3, bias=False)
    if inside:
        model = tinynn.Sequential([model, tinynn.Dense(2)])
    model.compile("sgd", "mse")
    model.build((4,))
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn")
    x = np.ones((2, 4))
    assert (type(twin), twin.seed) == (type(model), model.seed)
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))


@tinynn.register
class TakesLast(tinynn.Layer):
    """A layer that takes its list to pieces."""

    def __init__(self, factors: list[float], name: str | None = None) -> None:
        super().__init__(name=name)
        self.last = factors.pop()

    def forward(self, x: Any, training: bool = False) -> Any:
        return x * self.last


def test_arguments_are_those_that_were_given_though_the_constructor_changed_them(tmp_path: Path) -> None:
    model = tinynn.Sequential([tinynn.Input((2,)), TakesLast([2.0, 3.0])])
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn")
    assert twin.predict(np.ones((1, 2)), verbose=0).tolist() == [[3.0, 3.0]]


def test_numbers_that_were_set_after_the_constructor_are_in_the_file(tmp_path: Path) -> None:
    dropout = tinynn.Dropout(0.5)
    model = tinynn.Sequential([tinynn.Input((2,)), tinynn.Dense(1), dropout])
    model.compile(tinynn.Adam(), "mse")
    dropout.rate = 0.25
    model.optimizer.beta_1, model.optimizer.clipnorm = 0.5, 2.0
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn")
    assert (twin.layers[1].rate, twin.optimizer.beta_1, twin.optimizer.clipnorm) == (0.25, 0.5, 2.0)


def test_a_part_of_another_model_is_saved_and_loaded(tmp_path: Path) -> None:
    part = network(seed=0)
    whole = tinynn.Sequential([part, tinynn.Dense(1)])
    whole.compile("sgd", "mse")
    whole.fit(X, np.ones((len(X), 1)), verbose=0)
    part.save(tmp_path / "part.tinynn")
    twin = load_model(tmp_path / "part.tinynn")
    np.testing.assert_array_equal(twin.predict(X, verbose=0), part.predict(X, verbose=0))


def test_a_class_that_would_come_back_as_another_one_is_refused(tmp_path: Path) -> None:
    class Head(tinynn.layers.ReLU):
        """Not the one that is registered."""

    model = tinynn.Sequential([tinynn.Input((2,)), Head()])
    with pytest.raises(TypeError, match=r"Head is not registered, and its name is that of .*Head, which is"):
        model.save(tmp_path / "model.tinynn")


def test_a_model_of_more_layers_than_a_file_may_have_is_not_saved(tmp_path: Path) -> None:
    model = tinynn.Sequential([tinynn.Input((2,)), *(tinynn.ReLU() for _ in range(10_001))])
    with pytest.raises(ValueError, match="save: it has more than 10,000 layers, and no file may; save_weights can"):
        model.save(tmp_path / "crowd.tinynn")


def test_an_activation_that_was_set_after_the_constructor_is_in_the_file(tmp_path: Path) -> None:
    kept, changed = tinynn.Dense(3, activation="tanh"), tinynn.Dense(2, activation="softmax")
    model = tinynn.Sequential([tinynn.Input((4,)), kept, changed])
    model.build()
    changed.activation = tinynn.LeakyReLU(0.1)
    changed.activation.build_for((2,))
    model.save(tmp_path / "model.tinynn")
    twin = load_model(tmp_path / "model.tinynn")
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert twin.layers[0].get_config() == {"units": 3, "activation": "tanh", "name": "dense"}
    assert isinstance(twin.layers[1].activation, tinynn.LeakyReLU)
    np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))
