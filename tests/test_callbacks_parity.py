"""Callbacks beside Keras's own, driven by the same logs. Needs the group ``parity``."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import CSVLogger, Dense, Input, Sequential, TerminateOnNaN

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras on NumPy 2
]


# Would do nothing here; what stands after them is by name only.
ABSENT = {"TensorBoard": ("write_graph", "write_images", "profile_batch", "embeddings_freq", "embeddings_metadata")}


@pytest.mark.parametrize("name", [n for n in tinynn.callbacks.__all__ if n[0].isupper()])
def test_arguments_are_those_of_keras(keras: Any, name: str) -> None:
    if name in ("History", "Logs", "ProgressBar", "CallbackList"):
        return
    mine, theirs = (
        [(p.name, p.default) for p in inspect.signature(kind).parameters.values() if p.kind != p.VAR_KEYWORD]
        for kind in (getattr(tinynn, name), getattr(keras.callbacks, name))
    )
    absent = ABSENT.get(name, ())
    assert mine == [argument for argument in theirs if argument[0] not in absent]
    assert len(mine) + len(absent) == len(theirs)


EARLY = [
    {},
    {"patience": 2},
    {"patience": 1, "min_delta": 0.3},
    {"patience": 3, "min_delta": -0.3, "mode": "max"},
    {"patience": 2, "baseline": 0.4},
    {"patience": 2, "baseline": 0.01, "restore_best_weights": True},
    {"patience": 1, "start_from_epoch": 4, "restore_best_weights": True},
    {"patience": 30, "restore_best_weights": True, "mode": "min"},
]
PLATEAU = [
    {"patience": 0},
    {"patience": 1, "factor": 0.5},
    {"patience": 2, "cooldown": 2, "factor": 0.3},
    {"patience": 1, "min_lr": 0.02, "factor": 0.5, "mode": "max"},
    {"patience": 1, "min_delta": 0.2, "cooldown": 1},
]


def stub() -> Any:
    """What Keras's callbacks use of a model."""
    model = SimpleNamespace(stop_training=False, optimizer=SimpleNamespace(learning_rate=0.1), now=0, metrics=[])
    model.get_weights = lambda: model.now
    model.set_weights = lambda weights: setattr(model, "now", weights)
    return model


def drive(callback: Any, model: Any, losses: list[float], set_now: Any) -> list[Any]:
    """Return what a callback did to a model over epochs of given losses."""
    callback.on_train_begin({})
    did = []
    for epoch, loss in enumerate(losses):
        set_now(epoch)
        logs = {"val_loss": loss}
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, logs)
        state = [getattr(callback, name, None) for name in ("wait", "best", "stopped_epoch", "cooldown_counter")]
        did.append((float(model.optimizer.learning_rate), model.stop_training, logs.get("learning_rate"), *state))
        if model.stop_training:
            break
    callback.on_train_end({})
    return did


@pytest.mark.parametrize(
    ("name", "settings"),
    [("EarlyStopping", s) for s in EARLY]
    + [("ReduceLROnPlateau", s) for s in PLATEAU]
    + [("LearningRateScheduler", {"schedule": lambda epoch, rate: rate * 0.9 + 0.01 * epoch, "verbose": 1})],
)
def test_it_does_what_keras_does(
    keras: Any, name: str, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    if name != "LearningRateScheduler":
        settings = settings | {"verbose": 1}
    for seed in range(4):
        losses = list(np.random.default_rng(seed).uniform(size=12).round(1))  # with ties
        theirs, their_model = getattr(keras.callbacks, name)(**settings), stub()
        theirs.set_model(their_model)
        expected = drive(theirs, their_model, losses, lambda epoch, m=their_model: setattr(m, "now", epoch))
        their_words = capsys.readouterr().out.replace("\n\n", "\n").strip()
        mine, model = getattr(tinynn, name)(**settings), Sequential([Input((1,)), Dense(1, use_bias=False)])
        model.compile(tinynn.SGD(0.1), "mse")
        model.build()
        mine.model = model
        did = drive(mine, model, losses, lambda epoch, m=model: m.set_weights([np.full((1, 1), epoch)]))
        words = capsys.readouterr().out.strip()
        assert len(did) == len(expected)
        for ours, keras_did in zip(did, expected, strict=True):
            assert ours == keras_did
        assert float(model.get_weights()[0][0, 0]) == their_model.now
        assert words == their_words


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("with_validation", [False, True])
def test_the_csv_file_is_that_of_keras_byte_for_byte(
    keras: Any, tmp_path: Path, append: bool, with_validation: bool
) -> None:
    for kind, name in ((CSVLogger, "mine.csv"), (keras.callbacks.CSVLogger, "theirs.csv")):
        for _ in range(2):
            logger = kind(str(tmp_path / name), separator=";", append=append)
            logger.on_train_begin({})
            for epoch in range(3):
                logs = {"loss": 1 / (epoch + 3), "accuracy": np.float64(0.1 * epoch), "list": np.arange(2), "a": "b;c"}
                logger.on_epoch_end(epoch, logs | ({"val_loss": 0.5} if with_validation and epoch != 1 else {}))
            logger.on_train_end({})
    assert (tmp_path / "mine.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()


CHECKPOINTS = [
    ("{epoch:02d}-{val_loss:.1f}", {}),
    ("best-{epoch}", {"save_best_only": True}),
    ("best", {"save_best_only": True}),
    ("max-{epoch}", {"save_best_only": True, "mode": "max"}),
    ("below-{epoch}", {"save_best_only": True, "initial_value_threshold": 0.4}),
    ("sub/{epoch}/{batch:02d}-{loss:.1f}", {"save_freq": 3}),
    ("{epoch}-{batch}", {"save_freq": 7}),
    ("every", {"save_freq": 1}),
]


def saved_by(callback: Any, set_model: Any, root: Path, losses: np.ndarray) -> list[Any]:
    """Return what a ModelCheckpoint saved over epochs of 5 batches of given losses: how, when and where."""
    saved: list[Any] = []
    now: list[int] = []

    def note(how: str, path: str) -> None:
        saved.append((how, *now, str(Path(path).relative_to(root)), Path(path).parent.is_dir()))

    set_model(
        SimpleNamespace(
            metrics=[],
            log_names=lambda: ["loss"],
            direction_of=lambda monitor: "min",
            save=lambda path, overwrite=True: note("all", path),
            save_weights=lambda path, overwrite=True: note("weights", path),
        )
    )
    callback.on_train_begin({})
    for epoch in range(len(losses)):
        callback.on_epoch_begin(epoch, {})
        for batch in range(5):
            now[:] = [epoch, batch]
            callback.on_train_batch_begin(batch, {})
            callback.on_train_batch_end(batch, {"loss": losses[epoch, batch]})
        callback.on_epoch_end(epoch, {"loss": 0.5, "val_loss": losses[epoch, 0]})
    callback.on_train_end({})
    return saved


@pytest.mark.parametrize("weights_only", [False, True])
@pytest.mark.parametrize(("name", "settings"), CHECKPOINTS)
def test_checkpoints_are_saved_when_keras_saves_them(
    keras: Any,
    name: str,
    settings: dict[str, Any],
    weights_only: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name += ".weights.h5" if weights_only else ".keras"
    settings = settings | {"save_weights_only": weights_only, "verbose": 1}
    count = 0
    for seed in range(3):
        losses = np.random.default_rng(seed).uniform(size=(8, 5)).round(1)  # with ties
        here, there = tmp_path / f"mine{seed}", tmp_path / f"keras{seed}"
        theirs = keras.callbacks.ModelCheckpoint(str(there / name), **settings)
        expected = saved_by(theirs, theirs.set_model, there, losses)
        their_words = capsys.readouterr().out.replace("\n\n", "\n").replace(str(there), "").strip()
        mine = tinynn.ModelCheckpoint(here / name, **settings)
        assert saved_by(mine, lambda model, mine=mine: setattr(mine, "model", model), here, losses) == expected
        assert capsys.readouterr().out.replace(str(here), "").strip() == their_words
        count += len(expected)
    assert count > 1


@pytest.mark.parametrize("loss", [0.5, float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_as_in_keras(keras: Any, loss: float) -> None:
    for raises in (False, True):
        mine, theirs = TerminateOnNaN(raise_error=raises), keras.callbacks.TerminateOnNaN(raise_error=raises)
        mine.model, their_model = stub(), stub()
        theirs.set_model(their_model)
        for callback in (mine, theirs):
            if raises and not np.isfinite(loss):
                with pytest.raises(RuntimeError):
                    callback.on_train_batch_end(3, {"loss": loss})
            else:
                callback.on_train_batch_end(3, {"loss": loss})
        assert mine.model.stop_training == their_model.stop_training == (not raises and not np.isfinite(loss))
