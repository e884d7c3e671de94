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
        "steps           76\n",
        "seed            0",
    ):
        assert text in out
    assert f"tinynn_version  {tinynn.__version__}" in out


def test_summary_as_json(folder: Path, said: Said) -> None:
    data = json.loads(said(["summary", "model.tinynn", "--json"])[0])
    assert [layer["type"] for layer in data["layers"]] == ["Rescaling", "Flatten", "Dense", "Dense"]
    assert data["layers"][2] == {"name": "dense", "type": "Dense", "output_shape": [64], "parameters": 50240}
    assert (data["input_shape"], data["parameters"], data["steps"]) == ([28, 28], 50890, 76)
    assert (data["file"]["seed"], data["file"]["numpy_version"]) == ("0", np.__version__)
