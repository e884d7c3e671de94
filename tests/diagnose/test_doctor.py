"""doctor: each sick network has exactly the finding that is to be, healthy ones have none, and no model is changed."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest

import tinynn
from tests.diagnose.patients import HEALTHY, SICK, compiled, digits, mlp, network, regression, table
from tinynn.diagnose import limits
from tinynn.diagnose.examination import BECAUSE
from tinynn.diagnose.report import TITLES, DoctorReport
from tinynn.layers import LSTM, BatchNormalization, Dense, Dropout, GaussianNoise, Input, Reshape, Residual, ShapeError


def examined(case: Any, **options: Any) -> DoctorReport:
    return tinynn.doctor(*case, verbose=0, **options)


def kinds(report: DoctorReport) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_the_name_is_the_function() -> None:
    import tinynn.diagnose.examination

    assert tinynn.doctor is tinynn.diagnose.doctor
    assert callable(tinynn.doctor)
    assert callable(tinynn.plots.examination)


@pytest.mark.parametrize("name", SICK)
def test_a_sick_network_has_exactly_its_finding(name: str) -> None:
    expected, make = SICK[name]
    report = examined(make())
    assert kinds(report) == [expected], str(report)
    assert not report.ok
    assert report.findings[0].advice


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_network_has_none(name: str) -> None:
    report = examined(HEALTHY[name]())
    assert report.ok, str(report)
    assert report.consequences == ()


def test_every_kind_has_a_title_and_a_sick_network_but_two() -> None:
    assert set(BECAUSE) == set(TITLES)
    assert set(TITLES) - {kind for kind, _ in SICK.values()} == {"not_finite", "update"}


def test_steps_larger_than_the_weights_are_a_finding() -> None:
    tiny = network(
        Input((8,)),
        Dense(32, "relu", kernel_initializer=tinynn.RandomNormal(stddev=1e-4)),
        Dense(1),
    )
    report = examined((compiled(tiny, "adam", "mse"), *table()))
    assert [(finding.kind, finding.layer) for finding in report.findings] == [("update", "dense")]


def test_a_loss_that_is_not_finite_is_the_only_finding() -> None:
    model = mlp()
    model.build()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    report = examined((model, *digits()))
    assert kinds(report) == ["not_finite"]
    assert report.to_dict()["loss"] is None
    assert "check.finite" in str(report)


def everything_in(model: tinynn.Sequential) -> bytes:
    """Return all that a model is, bit for bit."""
    optimizer, arena = model.optimizer, model.arena
    assert optimizer is not None
    return pickle.dumps(
        (
            [layer.rng.bit_generator.state for layer in model.walk() if layer.rng is not None],
            [(layer.cache, layer.input_shape, sorted(vars(layer))) for layer in model.walk()],
            {name: slot.tobytes() for name, slot in optimizer.slots.items()},
            (optimizer.iterations, optimizer.learning_rate, optimizer.schedule),
            None if arena is None else [a.tobytes() for a in (arena.values, arena.grads, arena.state)],
            model.stop_training,
        )
    )


def dropout_model() -> tinynn.Sequential:
    return compiled(
        network(
            Input((8,)), Dense(16, "relu"), BatchNormalization(), Dropout(0.5), Dense(3, "softmax")
        )
    )  # fmt: skip


def test_a_trained_model_stays_as_it_is_bit_for_bit_and_trains_on_as_if_nothing_had_been() -> None:
    x = table()[0]
    y = x[:, :3].argmax(axis=1)
    model, other = dropout_model(), dropout_model()
    for each in (model, other):
        each.fit(x, y, epochs=2, verbose=0)
    before = everything_in(model)
    examined((model, x, y))
    assert everything_in(model) == before
    for each in (model, other):
        each.fit(x, y, epochs=1, verbose=0)
    assert everything_in(model) == everything_in(other)


def test_a_model_without_weights_has_none_afterwards() -> None:
    model = compiled(network(Dense(4, "tanh"), Dense(1)), "adam", "mse")
    before = everything_in(model)
    examined((model, *table()))
    assert everything_in(model) == before
    assert model.arena is None


def test_the_model_stays_as_it_is_when_the_examination_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    x = table()[0]
    y = x[:, :3].argmax(axis=1)
    model = dropout_model()
    model.fit(x, y, verbose=0)
    before = everything_in(model)
    monkeypatch.setattr("tinynn.diagnose.examination.range_test", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        examined((model, x, y))
    with pytest.raises(ValueError, match="doctor: y: SparseCategoricalCrossentropy"):
        examined((model, x, y + 10))
    assert everything_in(model) == before


def test_the_data_stay_as_they_are() -> None:
    x, y = table()
    before = x.tobytes(), y.tobytes()
    examined((regression(), x, y))
    assert (x.tobytes(), y.tobytes()) == before


def test_the_same_question_has_the_same_answer() -> None:
    first, second = (examined((dropout_model(), table()[0], table()[0][:, :3].argmax(axis=1))) for _ in range(2))
    assert first.to_dict() == second.to_dict()


def test_the_loss_before_training_is_not_asked_for_afterwards() -> None:
    sure = tinynn.RandomNormal(stddev=10.0)
    model = mlp(bias_initializer=sure)
    assert kinds(examined((model, *digits()))) == ["loss_at_start"]
    model.train_on_batch(digits()[0][:32], digits()[1][:32])
    report = examined((model, *digits()))
    assert "loss_at_start" not in kinds(report)
    assert report.expected_loss is None


@pytest.mark.parametrize(
    ("make", "x", "y", "expected"),
    [
        (mlp, digits()[0], digits()[1], math.log(10)),
        (lambda: regression("sigmoid", "binary_crossentropy"), table()[0], (table()[1] > 0).astype(float), math.log(2)),
        (regression, table()[0], table()[1], float((table()[1] ** 2).mean())),
        (lambda: regression(None, "cosine_similarity", 3), table()[0], table()[0][:, :3], None),
    ],
)
def test_the_expected_loss_is_that_of_a_model_that_knows_nothing(make: Any, x: Any, y: Any, expected: Any) -> None:
    report = examined((make(), x, y))
    if expected is None:
        assert report.expected_loss is None
    else:
        assert report.expected_loss == pytest.approx(expected, rel=1e-5)


def test_measures_what_is_so() -> None:
    """Of 8 units 2 are dead; a tanh of 4 units is saturated in half of them; a step of SGD is rate times gradient."""
    model = network(Input((3,)), Dense(8, "relu"), Dense(4, "tanh"), Dense(1))
    compiled(model, tinynn.SGD(0.01), "mse")
    model.build()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 3)), rng.normal(size=(64, 1))
    model.layers[0].b[:2] = -100
    model.layers[1].b[:2] = 100
    report = examined((model, x, y), batch_size=64)
    first, second, last = report.layers
    assert (first.units, first.dead, second.saturated, last.saturated) == (8, 0.25, 0.5, None)
    W = model.layers[2].W.copy()
    model.train_on_batch(x, y)
    assert last.update == pytest.approx(np.linalg.norm(model.layers[2].W - W) / np.linalg.norm(W), rel=1e-4)
    error = model.predict(x, verbose=0)  # after the step, which is small
    assert last.gradient == pytest.approx(np.linalg.norm(2 * (error - y) / 64), rel=0.05)


def test_the_last_layer_may_be_sure_once_it_is_trained() -> None:
    x, y = table()
    sure = Dense(1, "sigmoid", kernel_initializer=tinynn.RandomNormal(stddev=50.0))
    model = compiled(network(Input((8,)), Dense(16, "tanh"), sure), "adam", "mse")
    report = examined((model, x, (y > 0).astype(float)))
    assert [(finding.kind, finding.layer) for finding in report.findings] == [("saturation", "dense_1")]
    model.train_on_batch(x[:32], (y[:32] > 0).astype(float))
    report = examined((model, x, (y > 0).astype(float)))
    assert "saturation" not in kinds(report)


@pytest.mark.parametrize(
    "make",
    [
        lambda on: [Dense(32, "relu"), Dropout(0.95 * on)],
        lambda on: [Dense(32, "relu"), GaussianNoise(20.0 * on)],
        lambda on: [Dense(32, "relu", kernel_regularizer=tinynn.L2(10.0 * on))],
        lambda on: [Reshape((2, 4)), LSTM(32, dropout=0.95 * on, recurrent_dropout=0.95 * on)],
    ],
    ids=["dropout", "noise", "penalty", "dropout of a recurrent layer"],
)
def test_one_batch_is_learned_without_dropout_noise_and_penalties(make: Any) -> None:
    x = table()[0]
    y = np.random.default_rng(0).integers(2, size=len(x))
    trials = []
    for on in (True, False):
        model = network(Input((8,)), *make(on), Dense(2, "softmax"))
        trials.append(examined((compiled(model), x, y)).overfit)
    assert trials[0] == trials[1]


def test_a_model_that_is_right_already_need_not_move() -> None:
    x = table()[0]
    model = compiled(network(Input((8,)), Dense(1, kernel_initializer="ones")), "sgd", "mse")
    assert examined((model, np.zeros((100, 8)), np.zeros((100, 1)))).ok
    model.fit(x, x.sum(axis=1, keepdims=True), epochs=50, verbose=0)
    report = examined((model, x, x.sum(axis=1, keepdims=True)))
    assert report.ok, str(report)
    assert report.layers[0].update is not None
    assert report.layers[0].update < limits.UPDATE_SMALL


def test_weights_of_classes_settle_rare_ones() -> None:
    expected, make = SICK["2 % of one class"]
    model, x, y = make()
    assert kinds(examined((model, x, y), class_weight={0: 1.0, 1: 20.0})) == []
    assert kinds(examined((model, x, y))) == [expected]


def test_a_finding_that_another_explains_is_a_consequence() -> None:
    report = examined(SICK["twenty layers of sigmoids"][1]())
    assert kinds(report) == ["vanishing_gradients"]
    assert [finding.kind for finding in report.consequences] == ["update", "overfit"]
    assert "a step is too large or too small (dense); a single batch cannot be learned: probably" in str(report)


def test_looks_at_1024_samples_of_many() -> None:
    report = examined((mlp(), *digits()))
    assert (report.samples, report.of) == (limits.SAMPLES, 2000)
    assert "1,024 of 2,000 samples" in str(report)


def test_names_layers_inside_layers_by_their_place() -> None:
    block = Residual([Dense(8, "relu", bias_initializer=tinynn.Constant(-50.0))])
    model = compiled(network(Input((8,)), block, Dense(1)), "adam", "mse")
    report = examined((model, *table()))
    assert [(finding.kind, finding.layer) for finding in report.findings] == [("dead_units", "residual > dense")]


def test_a_last_layer_that_starts_at_zero_is_no_vanished_gradient() -> None:
    model = network(Input((8,)), Dense(16, "tanh"), Dense(1, kernel_initializer="zeros"))
    report = examined((compiled(model, "adam", "mse"), *table()))
    assert report.ok, str(report)


def test_a_layer_of_ones_own_is_examined_too() -> None:
    class Half(tinynn.Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            self.cache = ()
            return x / 2

        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            self.take_cache()
            return 1e-9 * dy  # wrong

    model = compiled(network(Input((8,)), Dense(16, "tanh"), Half(), Dense(1)), tinynn.SGD(0.01), "mse")
    assert kinds(examined((model, *table()))) == ["vanishing_gradients"]


def test_a_layer_of_ones_own_may_scale_the_inputs() -> None:
    class Bytes(tinynn.Layer):
        def forward(self, x: Any, training: bool = False) -> Any:
            self.cache = ()
            return x / 255

        def backward(self, dy: Any, need_dx: bool = True) -> Any:
            self.take_cache()
            return dy / 255

    model = compiled(network(Input((784,)), Bytes(), Dense(64, "relu"), Dense(10, "softmax")))
    assert examined((model, 255 * digits()[0], digits()[1])).ok


def test_of_a_loss_that_nobody_knows_the_rates_are_judged_before_training_only() -> None:
    class Square(tinynn.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            self.cache = y_pred - y_true
            return self.cache**2

        def gradient(self, dv: Any) -> Any:
            return 2 * dv * self.take_cache()

    model = regression(loss=Square(), optimizer=tinynn.Adam(10.0))
    assert kinds(examined((model, *table()))) == ["learning_rate"]
    model = regression(loss=Square(), optimizer=tinynn.Adam(0.01))
    model.fit(*table(), epochs=100, verbose=0)
    assert model.optimizer is not None
    model.optimizer.learning_rate = 0.05
    report = examined((model, *table()))
    assert report.ok, str(report)
    assert report.range_test is not None
    assert report.range_test.diverges is not None
    assert report.range_test.diverges < 0.05  # there half of a loss of 0.007 comes back, which says nothing


def test_prints_the_report_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    case = SICK["bytes from 0 to 255"][1]()
    report = tinynn.doctor(*case)
    assert capsys.readouterr().out.rstrip() == str(report).rstrip()
    tinynn.doctor(*case, verbose=0)
    assert capsys.readouterr().out == ""
    assert repr(report) == "<DoctorReport of sequential: inputs>"


def test_becomes_json() -> None:
    report = examined(SICK["a rate of 10"][1]())
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (found["ok"], found["findings"][0]["kind"]) == (False, "learning_rate")
    assert len(found["range_test"]["rates"]) == len(found["range_test"]["losses"])


class TestMistakes:
    def test_no_model(self) -> None:
        with pytest.raises(TypeError, match=r"doctor examines a model.*got Dense.*tinynn\.doctor\(model, x, y\)"):
            tinynn.doctor(Dense(3), [[1.0]], [[1.0]])

    def test_not_compiled(self) -> None:
        with pytest.raises(RuntimeError, match="doctor needs to know how to train: call compile"):
            tinynn.doctor(network(Dense(3)), [[1.0]], [[1.0]])

    def test_wrong_data(self) -> None:
        with pytest.raises(ValueError, match="doctor: x has 3 samples and y has 2"):
            examined((regression(), np.ones((3, 8)), np.ones((2, 1))))
        with pytest.raises(ShapeError, match="doctor: x: dense"):
            examined((regression(), np.ones((3, 7)), np.ones((3, 1))))
        with pytest.raises(ValueError, match="doctor: x holds 1 NaN"):
            examined((regression(), np.full((1, 8), [np.nan] + [0] * 7), np.ones((1, 1))))

    def test_wrong_options(self) -> None:
        with pytest.raises(ValueError, match="doctor: batch_size must be"):
            examined((regression(), *table()), batch_size=0)
        with pytest.raises(ValueError, match="doctor: verbose must be 0 or 1, got 2"):
            tinynn.doctor(regression(), *table(), verbose=2)

    def test_a_model_that_cannot_be_copied(self) -> None:
        model = regression()
        model.layers[0].file = (i for i in range(3))
        with pytest.raises(TypeError, match="doctor works on a copy of the model"):
            examined((model, *table()))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_samples_are_enough_not_to_fail(count: int) -> None:
    x, y = table()
    examined((regression(), x[:count], y[:count]))


def test_on_every_device(device: Any) -> None:
    x, y = table()
    model = tinynn.Sequential(
        [Input((8,)), Dense(16, "relu"), Dropout(0.1), Dense(8, "tanh"), Dense(1)],
        seed=0,
        device=device,
    )
    model.compile("adam", "mse")
    assert examined((model, x, y)).ok
    model.compile(tinynn.Adam(10.0), "mse")
    assert kinds(examined((model, x, y))) == ["learning_rate"]
