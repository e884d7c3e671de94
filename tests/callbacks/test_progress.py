"""ProgressBar: what stands on the screen."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import Dense, ProgressBar, Sequential
from tinynn.callbacks import CallbackList

x = np.random.default_rng(1).normal(size=(40, 4))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")


class Scores:
    """Stands in for the scores of an epoch."""

    def result(self) -> dict[str, float]:
        return {"loss": 0.5, "mae": 0.25}


def drive(bar: ProgressBar, steps: int | None, samples: int | None, first: int, last: int, pause: float = 0) -> None:
    """Epoch 4 of 5, from one batch to another."""
    watchers: Any = CallbackList([bar])
    watchers.begin(Sequential([Dense(1)]), {"epochs": 5, "steps": steps, "samples": samples, "verbose": 1})
    watchers.epoch_begin(3, resumed=first > 0)
    for batch in range(first, last):
        watchers.batch_begin(batch)
        time.sleep(pause)
        watchers.batch_end(batch, Scores())
    watchers.epoch_end(3, {"loss": 0.5, "mae": 0.25})
    watchers.end()


def test_an_unknown_number_of_batches_is_counted(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    drive(ProgressBar(live=True, interval=0), None, None, 0, 3)
    out = capsys.readouterr().out
    assert re.search(r"Epoch 4/5 batch 3 [\d,]+ batches/s loss: 0\.5000 - mae: 0\.2500", out)
    assert re.search(r"Epoch 4/5 - [\d.]+s - loss: 0\.5000 - mae: 0\.2500$", out.splitlines()[-1])
    assert "None" not in out
    assert "--:--" not in out


def test_a_resumed_epoch_goes_on_at_its_batch(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    drive(ProgressBar(live=True, interval=0), 100, 1000, 97, 100, pause=0.02)
    out = capsys.readouterr().out
    assert "Epoch 4/5" in out
    assert " 98/100" in out
    assert "100/100" in out
    rates = [int(rate.replace(",", "")) for rate in re.findall(r"([\d,]+)/s", out)]
    assert len(rates) >= 3
    assert max(rates) <= 500  # 10 samples in 0.02 s; the 97 batches before were not done here


def test_it_is_drawn_no_more_often_than_asked(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    drive(ProgressBar(live=True, interval=60), 100, 1000, 0, 50)
    assert len(re.findall(r"loss: ", capsys.readouterr().out)) <= 3  # once or twice, and the epoch's line


def test_names_choose_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    drive(ProgressBar(live=False, names=["mae", "val_mae"]), 4, 40, 0, 4)
    assert re.fullmatch(r"Epoch 4/5 - [\d.]+s - mae: 0\.2500\n", capsys.readouterr().out)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_the_bar_of_the_user_takes_the_place_of_that_of_fit(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(x, x[:, :1], epochs=2, verbose=verbose, callbacks=[ProgressBar(live=False, names=["mae"])])
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"[\d.]+s - mae: [\d.]+", "", line) for line in lines] == ["Epoch 1/2 - ", "Epoch 2/2 - "]


def test_bad_arguments() -> None:
    for names in ("loss", 5, [5]):
        with pytest.raises(TypeError, match=r"names must be a list of names in the logs, such as \['loss'\], got"):
            ProgressBar(names=names)
    with pytest.raises(ValueError, match="ProgressBar: interval must be a number from 0 up, got -1"):
        ProgressBar(interval=-1)


def test_evaluate_and_predict_take_an_unknown_number_of_batches(
    terminal: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tinynn.callbacks.progress, "on_terminal", lambda: True)
    assert list(tinynn.callbacks.bar_over(iter([1, 2, 3]), None, "evaluate", 1)) == [1, 2, 3]
    assert "evaluate" in capsys.readouterr().out
