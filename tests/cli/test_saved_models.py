"""``tinynn evaluate``, ``tinynn summary``: a model from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinynn
from tests.cli.conftest import Small
from tinynn.cli import models

Said = Callable[..., tuple[str, str]]


def test_evaluate_says_what_train_said(folder: Path, said: Said) -> None:
    trained = said(["train", "digits.npz", "--layers", "10:softmax", "--epochs", "1", "--save", "m", "--quiet"])[0]
    assert said(["evaluate", "m", "digits.npz"])[0] == trained.splitlines()[0] + "\n"


def test_evaluate_as_json(folder: Path, digits: tuple[Small, Small], said: Said) -> None:
    data = json.loads(said(["evaluate", "model.tinynn", "digits.npz", "--json", "--batch-size", "7"])[0])
    model = models.load("model.tinynn", "cpu")
    predicted = model.predict(digits[1][0], verbose=0).argmax(axis=1)
    assert data["test"]["accuracy"] == pytest.approx(float((predicted == digits[1][1]).mean()))
    assert (data["samples"], data["model"], data["device"]) == (200, "model.tinynn", "cpu")


def test_evaluate_needs_the_test_part_alone(folder: Path, digits: tuple[Small, Small], said: Said) -> None:
    np.savez("test.npz", x_test=digits[1][0], y_test=digits[1][1])
    assert said(["evaluate", "model.tinynn", "test.npz"]) == said(["evaluate", "model.tinynn", "digits.npz"])


def test_a_limit_draws_the_same_samples_every_time(folder: Path, said: Said) -> None:
    first = said(["evaluate", "model.tinynn", "digits.npz", "--limit", "50"])[0]
    assert "(50 samples)" in first
    assert said(["evaluate", "model.tinynn", "digits.npz", "--limit", "50"])[0] == first


def test_summary_shows_layers_versions_and_seed(folder: Path, said: Said) -> None:
    out = said(["summary", "model.tinynn"])[0]
    for text in (
        "rescaling (Rescaling)",
        "(batch, 64)",
        "50,890",
        "optimizer       Adam(",
        "steps           80\n",
        "seed            0",
    ):
        assert text in out
    assert f"tinynn_version  {tinynn.__version__}" in out


def test_summary_as_json(folder: Path, said: Said) -> None:
    data = json.loads(said(["summary", "model.tinynn", "--json"])[0])
    assert [layer["type"] for layer in data["layers"]] == ["Rescaling", "Flatten", "Dense", "Dense"]
    assert data["layers"][2] == {"name": "dense", "type": "Dense", "output_shape": [64], "parameters": 50240}
    assert (data["input_shape"], data["parameters"], data["steps"]) == ([28, 28], 50890, 80)
    assert (data["file"]["seed"], data["file"]["numpy_version"]) == ("0", np.__version__)


def test_a_file_gives_no_orders_to_the_terminal(folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "describe", lambda path: {"tinynn_version": "\x1b[2J"})
    assert "\x1b" not in said(["summary", "model.tinynn"])[0]


def test_every_command_computes_where_it_is_told(folder: Path, said: Said, fake_cupy: object) -> None:
    device = ["--device", "cuda"]
    options = ["--layers", "16:relu,10:softmax", "--epochs", "1", "--save", "new.tinynn", "--json"]
    assert json.loads(said(["train", "digits.npz", *options, *device])[0])["device"] == "cuda"
    there = json.loads(said(["evaluate", "new.tinynn", "digits.npz", "--json", *device])[0])
    here = json.loads(said(["evaluate", "new.tinynn", "digits.npz", "--json", "--device", "cpu"])[0])
    assert (there["device"], here["device"]) == ("cuda", "cpu")
    assert there["test"]["loss"] == pytest.approx(here["test"]["loss"], rel=1e-5)
    on_device = said(["predict", "new.tinynn", "x.npy", *device])[0]
    assert on_device.splitlines()[0].split() == ["input", "class", "probability"]
