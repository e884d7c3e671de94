"""Everything with settings becomes plain data, and the same again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.layers.row import Row
from tests.layers.table import TABLE
from tinynn import config, initializers, losses, metrics, optimizers, regularizers, schedules
from tinynn.config import Configured, class_called, from_plain, register, to_plain

THINGS: list[Configured] = [
    *(kind() for kind in optimizers.OPTIMIZERS.values()),
    *(kind() for kind in losses.LOSSES.values()),
    *(kind() for kind in metrics.METRICS.values()),
    *(kind() for kind in initializers.INITIALIZERS.values()),
    *(kind() for kind in regularizers.REGULARIZERS.values()),
    tinynn.Adam(schedules.CosineDecay(0.1, 100, warmup_target=0.2, warmup_steps=5), weight_decay=0.1, clipnorm=1.0),
    tinynn.SGD(schedules.PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001]), momentum=0.9, nesterov=True),
    schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
    schedules.InverseTimeDecay(0.1, 10, 0.5),
    schedules.PolynomialDecay(0.1, 10, power=2.0),
    schedules.CosineDecayRestarts(0.1, 10),
    schedules.OneCycle(0.1, 100),
    tinynn.SGD(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5, global_clipnorm=2.0),
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    losses.MeanSquaredError(reduction="sum"),
    metrics.BinaryAccuracy(threshold=0.3, name="mine"),
    initializers.Constant(0.5),
]


def there_and_back(thing: Any) -> tuple[Any, Any]:
    """Return what a thing is as plain data, and what comes back from JSON."""
    plain = to_plain(thing, "here")
    return plain, from_plain(json.loads(json.dumps(plain, allow_nan=False)))


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_things_come_back_with_their_settings(thing: Configured) -> None:
    plain, twin = there_and_back(thing)
    assert type(twin) is type(thing)
    assert to_plain(twin, "here") == plain
    assert repr(twin) == repr(thing) or " at 0x" in repr(thing)
    assert settings_of(twin) == settings_of(thing)


def settings_of(thing: Any) -> Any:
    return {key: settings_of(value) if isinstance(value, Configured) else value for key, value in vars(thing).items()}


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_layer_comes_back_with_its_settings(row: Row) -> None:
    model = tinynn.Sequential([row.make()], seed=3)
    model.build(row.example)
    plain, twin = there_and_back(model)
    twin.build(row.example)
    assert [(name, p.shape) for name, p in twin.named_parameters()] == [
        (name, p.shape) for name, p in model.named_parameters()
    ]
    assert to_plain(twin, "here") == plain
    for mine, theirs in zip(model.walk(), twin.walk(), strict=True):
        theirs.plain = mine.plain  # how it is computed is no setting
    x = row.sample((2, *row.example), 0)
    for training in (False, True):  # the same seed in the same order: the same weights, the same random numbers
        np.testing.assert_array_equal(twin(x, training), model(x, training))


def test_no_default_setting_is_lost_and_none_is_made_up() -> None:
    dense = tinynn.Dense(3, "relu", kernel_regularizer=tinynn.L2(0.1), name="first", input_shape=(2,))
    assert dense.get_config() == {
        "units": 3,
        "activation": "relu",
        "kernel_regularizer": dense.kernel_regularizer,
        "name": "first",
        "input_shape": (2,),
    }


def test_numbers_that_json_does_not_have() -> None:
    given = {"a": np.float64("-inf"), "b": [np.int64(3), np.bool(True), float("nan")], 3: np.arange(3, dtype="uint8")}
    back = there_and_back(given)[1]
    assert back["a"] == -np.inf
    assert back["b"][:2] == [3, True]
    assert np.isnan(back["b"][2])
    np.testing.assert_array_equal(back[3], given[3])
    assert back[3].dtype == np.uint8


def test_arrays_may_be_put_aside() -> None:
    arrays: dict[str, Any] = {}
    plain = to_plain({"w": [np.ones(2), np.zeros((0, 3))]}, "here", arrays)
    assert [array.shape for array in arrays.values()] == [(2,), (0, 3)]
    assert from_plain(plain, None, arrays)["w"][0] is arrays["state/0"]


class Doubled(tinynn.Layer):
    """A layer of one's own whose constructor knows no name."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Any, training: bool = False) -> Any:
        y = self.factor * x
        self.cache = True
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        self.take_cache()
        return self.factor * dy


def test_a_class_of_ones_own_is_known_when_it_is_given_or_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "registered", {})
    model = tinynn.Sequential([tinynn.Input((2,)), Doubled(3)], seed=0)
    plain = to_plain(model, "here")
    with pytest.raises(ValueError, match=r"there is no class called 'Doubled' here\. Put @tinynn\.register before"):
        from_plain(plain)
    twin = from_plain(plain, {"Doubled": Doubled})
    assert (twin.layers[0].factor, twin.layers[0].name) == (3, "doubled")
    register(Doubled)
    assert from_plain(plain).layers[0].factor == 3
    register(name="mine>Doubled")(Doubled)
    assert class_called("mine>Doubled") is Doubled
    with pytest.raises(TypeError, match="custom_objects: 'Doubled' must be a class"):
        from_plain(plain, {"Doubled": Doubled(3)})


def test_a_name_stands_for_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "registered", {})
    register(Doubled)
    other = type("Doubled", (tinynn.Layer,), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match=r"the name 'Doubled' belongs to .*test_config.Doubled already; register"):
        register(other)
    again = type("Doubled", (Doubled,), {"__module__": Doubled.__module__, "__qualname__": Doubled.__qualname__})
    assert register(again) is again  # a cell of a notebook, run again
    with pytest.raises(ValueError, match="a name must have no dot"):
        register(Doubled, name="layers.Dense")
    with pytest.raises(TypeError, match=r"register expected a class, such as a subclass of tinynn\.Layer, got 5"):
        register(5)
    with pytest.raises(TypeError, match="got <class 'int'>"):
        register(int)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"class": "layers.Dense", "config": {}}, r"layers\.Dense cannot be made with the settings \[\]: TypeError"),
        ({"class": "layers.Dense", "config": {"units": -1}}, "units must be a whole number from 1 up, got -1"),
        ({"class": "layers.Dens", "config": {}}, "unknown class of tinynn.layers 'Dens'. Did you mean 'Dense'"),
        ({"class": "layers.np", "config": {}}, "unknown class"),
        ({"class": "os.system", "config": {}}, "there is no class called 'os.system' here"),
        ({"class": "layers.Dense"}, r"the keys \['class'\], which stands for nothing"),
        ({"array": "state/0"}, r"the keys \['array'\], which stands for nothing"),
        ({"array": ["a"], "dtype": "float32"}, "a setting is no array of float32"),
        ({"array": [1], "dtype": "object"}, "stands for nothing"),
        ({"dict": [["a"]]}, "stands for nothing"),
        ({"float": "1e5"}, "stands for nothing"),
        ({"class": "layers.Dense", "config": {"units": {"a": 1}}}, "stands for nothing"),
    ],
)
def test_what_stands_for_nothing_is_refused(plain: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_plain(plain)


def test_nesting_without_end_is_refused() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper than"):
        from_plain(deep)
    with pytest.raises(TypeError, match="nested deeper than"):
        to_plain(deep, "here")


def test_what_is_no_plain_data_is_named() -> None:
    class Lambda(Doubled):
        def __init__(self, function: Any) -> None:
            super().__init__(2)

    model = tinynn.Sequential([tinynn.Dense(2), Lambda(abs)])
    with pytest.raises(TypeError, match=r"lambda \(Lambda\): function is <built-in function abs>, which cannot be"):
        to_plain(model, "the model")

    class Star(Doubled):
        def __init__(self, *factors: int) -> None:
            super().__init__(factors[0])

    with pytest.raises(TypeError, match=r"Star takes arguments without names \(\*factors\)"):
        Star(1, 2).get_config()
