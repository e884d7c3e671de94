"""The numbers that the README promises, trained for real. Minutes: ``pytest -m slow``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def number_in_last_line(pattern: str, example: str, *arguments: str) -> float:
    """Run an example as a user does and return the number that `pattern` finds in the last line it prints."""
    run = subprocess.run([sys.executable, EXAMPLES / example, *arguments], capture_output=True, text=True, check=True)
    match = re.fullmatch(pattern, run.stdout.splitlines()[-1])
    assert match, run.stdout
    return float(match[1])


def accuracy_of(example: str, *arguments: str) -> float:
    """Run an example and return its accuracy."""
    return number_in_last_line(r"test accuracy (0\.\d{4}) - test loss \d+\.\d{4}", example, *arguments)


def test_the_articles_network_mean_of_five_seeds() -> None:
    accuracies = [accuracy_of("mnist.py", "--seed", str(seed), "--device", "cpu") for seed in range(5)]
    print(accuracies)
    assert sum(accuracies) / 5 >= 0.978


def test_tanh_sigmoid_with_its_own_settings() -> None:
    assert accuracy_of("tanh_sigmoid.py", "--device", "cpu") >= 0.97


@pytest.mark.parametrize(
    ("example", "least"),
    [
        ("mnist_cnn.py", 0.992),
        ("mnist_rnn.py", 0.983),
        ("mnist_resnet.py", 0.9925),
        ("mnist_vit.py", 0.975),
        ("mnist_augmented.py", 0.993),
    ],
)
def test_networks_of_the_other_families(example: str, least: float) -> None:
    assert accuracy_of(example, "--device", "cpu") >= least


@pytest.mark.parametrize(("example", "most"), [("char_transformer.py", 2.0), ("char_lstm.py", 2.1)])
def test_networks_that_write(example: str, most: float) -> None:
    assert number_in_last_line(r"held out: (\d\.\d{3}) nats a character", example, "--device", "cpu") < most
