"""``tinynn predict``."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinynn
from tests.cli.conftest import Small
from tinynn.cli import models

Said = Callable[..., tuple[str, str]]


@pytest.fixture
def expected(folder: Path, digits: tuple[Small, Small]) -> np.ndarray:
    """Return what the model says about the test digits."""
    return models.load("model.tinynn", "cpu").predict(digits[1][0], verbose=0)


def classes(out: str) -> list[int]:
    """Return the classes in a table."""
    return [int(line.split()[-2]) for line in out.splitlines()[1:]]


def test_a_table_of_classes_and_probabilities(folder: Path, expected: np.ndarray, said: Said) -> None:
    out, err = said(["predict", "model.tinynn", "images.idx"])
    first = expected[0]
    assert out.splitlines()[:2] == [
        "input          class  probability",
        f"images.idx[0]  {first.argmax():5}  {first.max():11.4f}",
    ]
    assert classes(out) == expected[:5].argmax(axis=1).tolist()
    assert err == ""


def test_every_kind_of_file_gives_the_same(
    folder: Path, digits: tuple[Small, Small], expected: np.ndarray, said: Said
) -> None:
    images = digits[1][0]
    Image.fromarray(images[0]).save("0.png")
    Image.fromarray(images[0]).convert("RGB").save("0.rgb.PNG")
    Image.fromarray(images[0].astype("uint16") * 257).save("0.16.png")
    Image.fromarray(255 - images[0]).save("0.paper.png")
    np.save("0.npy", images[0])
    np.save("0.rows.npy", images[:1].reshape(1, 784))
    with open("images.idx", "rb") as idx, gzip.open("images.idx.gz", "wb") as packed:
        shutil.copyfileobj(idx, packed)
    for name in ("0.png", "0.rgb.PNG", "0.16.png", "0.npy", "0.rows.npy"):
        out, err = said(["predict", "model.tinynn", name, "--json"])
        [said_of_it] = json.loads(out)["predictions"]
        assert said_of_it["input"] == name
        np.testing.assert_allclose(said_of_it["probabilities"], expected[0], atol=1e-6)
        assert said_of_it["class"] == expected[0].argmax()
        assert err == ""
    out, err = said(["predict", "model.tinynn", "0.paper.png", "--json", "--invert"])
    np.testing.assert_allclose(json.loads(out)["predictions"][0]["probabilities"], expected[0], atol=1e-6)
    assert err == ""
    assert classes(said(["predict", "model.tinynn", "images.idx.gz"])[0]) == expected[:5].argmax(axis=1).tolist()
    np.save("paper.npy", 255 - images)
    assert classes(said(["predict", "model.tinynn", "paper.npy", "--invert"])[0]) == expected.argmax(axis=1).tolist()


def test_several_inputs_and_a_file_of_outputs(folder: Path, expected: np.ndarray, said: Said) -> None:
    out, _ = said(["predict", "model.tinynn", "x.npy", "images.idx", "-o", "out.npy"])
    assert len(out.splitlines()) == 1 + 200 + 5
    np.testing.assert_allclose(np.load("out.npy"), np.concatenate([expected, expected[:5]]), atol=1e-6)


def test_what_is_done_to_a_picture_is_told(folder: Path, digits: tuple[Small, Small], said: Said) -> None:
    large = Image.fromarray(digits[1][0][0]).resize((280, 300))
    large.save("large.png")
    Image.eval(large, lambda value: 255 - value).save("paper.jpg")
    changed = " has 280 x 300 pixels and was made 28 x 28\n"
    assert said(["predict", "model.tinynn", "large.png"])[1] == f"tinynn predict: note: large.png{changed}"
    assert said(["predict", "model.tinynn", "paper.jpg"])[1] == (
        f"tinynn predict: note: paper.jpg{changed}tinynn predict: note: paper.jpg is dark on light; if the model "
        "learned light on dark, as of MNIST, give --invert\n"
    )
    assert "large.png is dark on light now; if" in said(["predict", "model.tinynn", "large.png", "--invert"])[1]


def test_a_large_clean_picture_is_the_digit_it_was(
    folder: Path, digits: tuple[Small, Small], expected: np.ndarray, said: Said
) -> None:
    for i in range(10):
        Image.fromarray(digits[1][0][i]).resize((280, 280), Image.Resampling.BICUBIC).save(f"{i}.png")
    out = said(["predict", "model.tinynn", *(f"{i}.png" for i in range(10))])[0]
    assert sum(a == b for a, b in zip(classes(out), expected[:10].argmax(axis=1), strict=True)) >= 9


def test_a_transparent_picture_lies_on_white(folder: Path, digits: tuple[Small, Small], said: Said) -> None:
    ink = np.zeros((28, 28, 4), dtype="uint8")
    ink[..., 3] = digits[1][0][0]
    Image.fromarray(ink).save("ink.png")
    out, err = said(["predict", "model.tinynn", "ink.png", "--invert", "--json"])
    assert json.loads(out)["predictions"][0]["class"] == 7
    assert err == ""


def make(layers: list[tinynn.Layer], shape: tuple[int, ...], path: str, loss: str = "mse") -> None:
    """Save a model that has learned nothing."""
    model = tinynn.Sequential([tinynn.Input(shape), *layers], seed=0)
    model.build()
    model.compile("sgd", loss)
    models.save(model, path)


def test_one_probability_means_two_classes(folder: Path, said: Said) -> None:
    make([tinynn.Dense(1, "sigmoid", kernel_initializer="ones")], (1,), "two.tinynn")
    np.save("x.npy", [[-2.0], [3.0]])
    out = said(["predict", "two.tinynn", "x.npy"])[0]
    assert out.splitlines()[1:] == ["x.npy[0]      0       0.8808", "x.npy[1]      1       0.9526"]
    first = json.loads(said(["predict", "two.tinynn", "x.npy", "--json"])[0])["predictions"][0]
    np.testing.assert_allclose(first["probabilities"], [0.8808, 0.1192], atol=1e-4)


def test_other_outputs_are_numbers(folder: Path, said: Said) -> None:
    make([tinynn.Dense(6, kernel_initializer="ones")], (2,), "six.tinynn")
    np.save("x.npy", [[0.5, 1.0]])
    out = said(["predict", "six.tinynn", "x.npy"])[0]
    assert out.splitlines() == ["input  output", "x.npy  1.5 1.5 1.5 1.5 1.5 ..."]
    assert json.loads(said(["predict", "six.tinynn", "x.npy", "--json"])[0])["predictions"] == [
        {"input": "x.npy", "output": [1.5] * 6}
    ]


def test_models_of_other_shapes_take_pictures_too(folder: Path, digits: tuple[Small, Small], said: Said) -> None:
    Image.fromarray(digits[1][0][0]).convert("RGB").resize((8, 6)).save("small.png")
    for shape in ((8, 8, 3), (6, 8, 1), (6, 8), (64,)):
        make([tinynn.Rescaling(1 / 255), tinynn.Flatten(), tinynn.Dense(2)], shape, "other.tinynn")
        assert "small.png" in said(["predict", "other.tinynn", "small.png"])[0]


def test_a_model_without_rescaling_is_told_of(folder: Path, said: Said) -> None:
    make([tinynn.Flatten(), tinynn.Dense(10, "softmax")], (28, 28), "bare.tinynn")
    assert said(["predict", "bare.tinynn", "images.idx"])[1] == (
        "tinynn predict: note: bare.tinynn does not begin with Rescaling: it gets the pixels as they are, 0 to 255\n"
    )


def test_without_pillow_the_extra_is_named(folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (28, 28)).save("x.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert said(["predict", "model.tinynn", "x.png"], 2)[1] == (
        "tinynn predict: a picture needs Pillow, which could not be imported: install tinynn from its checkout with "
        "the extra 'images' (pip install '.[images]').\n"
    )
