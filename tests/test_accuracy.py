"""The numbers that the README promises, trained for real. Minutes: ``pytest -m slow``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def accuracy_of(example: str, *arguments: str) -> float:
    """Run an example as a user does and return the accuracy in the last line it prints."""
    run = subprocess.run([sys.executable, EXAMPLES / example, *arguments], capture_output=True, text=True, check=True)
    match = re.fullmatch(r"test accuracy (0\.\d{4}) - test loss \d+\.\d{4}", run.stdout.splitlines()[-1])
    assert match, run.stdout
    return float(match[1])


def test_the_articles_network_mean_of_five_seeds() -> None:
    accuracies = [accuracy_of("mnist.py", "--seed", str(seed), "--device", "cpu") for seed in range(5)]
    print(accuracies)
    assert sum(accuracies) / 5 >= 0.978


def test_tanh_sigmoid_with_its_own_settings() -> None:
    assert accuracy_of("tanh_sigmoid.py", "--device", "cpu") >= 0.97


@pytest.mark.parametrize(
    ("example", "least"), [("mnist_cnn.py", 0.992), ("mnist_rnn.py", 0.983), ("mnist_resnet.py", 0.9925)]
)
def test_networks_of_the_other_families(example: str, least: float) -> None:
    assert accuracy_of(example, "--device", "cpu") >= least
