"""Optimizers are checked step by step."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.exercises.student import screen, solved, with_mistake
from tinynn.check.report import WRONG
from tinynn.exercises import coach
from tinynn.exercises.catalogue import get


@pytest.mark.parametrize(
    ("right", "wrong", "name", "said"),
    [
        ("- self.learning_rate * dw", "+ self.learning_rate * dw", "m", "uphill"),
        ("- self.learning_rate * dw", "- dw", "m", "the learning rate is missing"),
        ("self.momentum * self.m -", "-", "m", "nothing of the last step"),
        ("w = w + self.m", "w = w - self.m", "w", "subtracted"),
        ("(1 - self.beta_1) * dw", "dw", "m", "1 - beta_1"),
        ("(1 - self.beta_2) * dw * dw", "(1 - self.beta_2) * dw", "v", "not squared"),
        ("m_hat = self.m / (1 - self.beta_1**self.t)", "m_hat = self.m", "w", "m_hat is due"),
        ("v_hat = self.v / (1 - self.beta_2**self.t)", "v_hat = self.v", "w", "v_hat is due"),
        ("np.sqrt(v_hat) + self.epsilon", "np.sqrt(v_hat + self.epsilon)", "w", "inside the root"),
        ("np.sqrt(v_hat)", "v_hat", "w", "the root is missing"),
        ("w = w - self.learning_rate", "w = w + self.learning_rate", "w", "uphill"),
        ("self.t = self.t + 1", "self.t = self.t", "w", "no number"),
        ("self.t = self.t + 1", "self.t = self.t + 2 * (self.t == 0) + (self.t > 0)", "w", "one too large"),
    ],
)
def test_an_optimizer_is_checked_step_by_step(
    right: str, wrong: str, name: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("momentum_adam.py").write_text(with_mistake("momentum-adam", right, wrong))
    outcome = coach.check(get("momentum-adam"), folder / "momentum_adam.py")
    assert [line.name for line in outcome.having(WRONG)] == [name]
    status, out, _ = screen(capsys, "check", "momentum-adam")
    assert status == 1
    assert said in out
    assert re.search(r"after step \d", out)


def test_the_formulas_are_those_of_the_library() -> None:
    import tinynn
    from tinynn.exercises.sources.optimizers import Adam, Momentum

    rng = np.random.default_rng(0)
    w, gradients = rng.normal(size=3), rng.normal(size=(6, 3))
    pairs = [
        (Momentum(0.1, 0.9), tinynn.SGD(0.1, momentum=0.9), 1),
        (Adam(0.1, 0.9, 0.99, 1e-8), tinynn.Adam(0.1, beta_1=0.9, beta_2=0.99, epsilon=0), 2),
    ]
    for mine, library, slots in pairs:
        a, b, kept = w, w.copy(), [np.zeros(3) for _ in range(slots)]
        for t, dw in enumerate(gradients, 1):
            a = mine.update(a, dw)
            library.iterations = t
            library.update(b, dw, np.empty(3), *kept)
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"), [("pass", "returns nothing"), ("dw *= 2; return w", "writes into dw"), ("return q", "NameError")]
)
def test_an_update_that_cannot_be_run(wrong: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = solved(get("momentum-adam")).replace("return w", wrong, 1)
    Path("momentum_adam.py").write_text(source)
    status, out, _ = screen(capsys, "check", "momentum-adam")
    assert status == 2
    assert said in out
