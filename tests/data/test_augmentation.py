"""Augmentation: exact where it can be, elsewhere the numbers of SciPy and Keras; same pictures for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn
from tinynn.data import Dataset
from tinynn.data.augmentation import (
    Augmentation,
    GaussianNoise,
    MixUp,
    RandomAffine,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from tinynn.data.resample import FILL_MODES, inside, resample

SEED = np.random.SeedSequence(7)


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def pictures(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(1).random(shape) * 250).astype(dtype)


AUGMENTATIONS: dict[str, Augmentation] = {
    "translation": RandomTranslation(0.2, (0.0, 0.3)),
    "rotation": RandomRotation(0.1, fill_mode="constant", fill_value=9),
    "zoom": RandomZoom(0.3, 0.2, fill_mode="wrap"),
    "affine": RandomAffine(RandomRotation(0.1), RandomZoom(0.2), RandomTranslation(0.1, 0.1), fill_mode="nearest"),
    "nearest": RandomRotation(0.1, interpolation="nearest"),
    "flip": RandomFlip(),
    "noise": GaussianNoise(20.0),
    "erasing": RandomErasing(),
    "cutout": RandomErasing(scale=(0.1, 0.2), fill_value=0, ratio=(1, 1)),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 8, 6), (5, 8, 6, 3)])
def test_shape_dtype_and_seed(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    augment, x = AUGMENTATIONS[name], pictures(*shape, dtype=dtype)
    before = x.copy()
    x.flags.writeable = False
    first, again = augment(x, rng=rng()), augment(x, rng=rng())
    other = augment(x, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(first, again)
    assert first.shape == shape
    assert first.dtype == dtype
    assert not np.array_equal(first, x)
    assert not np.array_equal(first, other)
    y, w = np.arange(5), np.ones(5)
    with_others = augment(x, y, w, rng=rng())
    np.testing.assert_array_equal(with_others[0], first)
    assert with_others[1] is y
    assert with_others[2] is w


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_channels_are_changed_alike(name: str) -> None:
    if name in ("noise", "erasing"):  # which draw for each number
        return
    x = pictures(4, 9, 7)
    changed = AUGMENTATIONS[name](np.stack([x, 2 * x], axis=-1), rng=rng())
    constant = {"rotation": 9}.get(name, 0)
    np.testing.assert_allclose(changed[..., 0], AUGMENTATIONS[name](x, rng=rng()), rtol=1e-6)
    np.testing.assert_allclose(changed[..., 1], 2 * changed[..., 0], rtol=1e-5, atol=constant)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_exact_cases(dtype: str) -> None:
    x = pictures(2, 6, 6, dtype=dtype)
    for quarters in range(-4, 5):
        turn = RandomRotation((quarters / 4, quarters / 4), fill_mode="constant")
        np.testing.assert_allclose(turn(x, rng=rng()), np.rot90(x, quarters, axes=(1, 2)), atol=1e-4)
    for down, right in ((1, 0), (0, 2), (-2, 3), (0, 0)):
        move = RandomTranslation((down / 6, down / 6), (right / 6, right / 6), fill_mode="wrap")
        np.testing.assert_allclose(move(x, rng=rng()), np.roll(x, (down, right), (1, 2)), atol=1e-4)
    np.testing.assert_array_equal(RandomZoom(0.0)(x, rng=rng()), x)
    np.testing.assert_array_equal(RandomFlip()(RandomFlip()(x, rng=rng()), rng=rng()), x)
    x = pictures(2, 8, 8, dtype=dtype)
    twice = RandomZoom((-0.5, -0.5), interpolation="nearest")(x, rng=rng())
    np.testing.assert_array_equal(twice, x[:, 2:6, 2:6].repeat(2, axis=1).repeat(2, axis=2))


def test_edges_are_filled() -> None:
    x = np.array([[[1.0, 2.0, 3.0]]])
    for mode, expected in {"constant": 0, "nearest": 1, "reflect": 1, "wrap": 3}.items():
        assert RandomTranslation(0, (1 / 3, 1 / 3), fill_mode=mode)(x, rng=rng()).tolist() == [[[expected, 1, 2]]]
    far = RandomTranslation(0, (-1, -1), fill_mode="reflect")(x, rng=rng())
    assert far.tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize(("mode", "name"), [("reflect", "symmetric"), ("nearest", "edge"), ("wrap", "wrap")])
def test_far_beyond_the_edges(mode: str, name: Any) -> None:
    """Zoomed out by three and five, the new pixels are old ones, from a picture padded by hand."""
    x = pictures(2, 5, 3)
    padded = np.pad(x, ((0, 0), (10, 10), (10, 10)), mode=name)
    far = RandomZoom((2, 2), (4, 4), fill_mode=mode)(x, rng=rng())
    np.testing.assert_allclose(far, padded[:, 10 - 4 : 10 + 9 : 3, 10 - 4 : 10 + 7 : 5], rtol=1e-6)
    for end in (25, 7, 5, 3):  # many pictures beyond the edge, one, none
        places = np.arange(-end, end)
        expected = np.pad(np.arange(5), 25, mode=name)[25 - end : 25 + end]
        np.testing.assert_array_equal(inside(places, 5, mode), expected)


def test_a_value_comes_in_as_far_as_the_picture_goes_out() -> None:
    x = np.array([[[1.0, 3.0]]])
    half = RandomTranslation((0, 0), (0.25, 0.25), fill_mode="constant", fill_value=9)(x, rng=rng())
    assert half.tolist() == [[[5.0, 2.0]]]


def test_whole_numbers_are_rounded_and_do_not_run_over() -> None:
    x = np.full((10, 50, 50), 250, np.uint8)
    noisy = GaussianNoise(10.0)(x, rng=rng())
    assert noisy.min() > 200
    assert noisy.max() == 255
    assert abs(GaussianNoise(5.0)(x - 150, rng=rng()).mean() - 100) < 0.1  # 0.5 less where they are cut


def test_several_in_one_resampling_are_those_one_after_another() -> None:
    smooth = np.exp(-np.sum((np.indices((200, 200)) - 95) ** 2, axis=0) / 300)[None]  # nothing at the edges
    nothing: dict[str, Any] = {"fill_mode": "constant"}
    parts = [
        RandomRotation((0.05, 0.05), **nothing),
        RandomTranslation((0.1, 0.1), (0, 0), **nothing),
        RandomZoom((0.2, 0.2), **nothing),
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        one_by_one = smooth
        for i in order:
            one_by_one = parts[i](one_by_one, rng=rng())
        at_once = RandomAffine(*(parts[i] for i in order))(smooth, rng=rng())
        np.testing.assert_allclose(at_once, one_by_one, atol=0.004)  # another order differs by 0.1


def test_flips_of_each_kind_come_as_often() -> None:
    x = np.arange(4.0).reshape(1, 2, 2).repeat(4000, axis=0)
    for mode, kinds in (("horizontal", 2), ("vertical", 2), ("horizontal_and_vertical", 4)):
        found, counts = np.unique(RandomFlip(mode)(x, rng=rng()).reshape(4000, 4), axis=0, return_counts=True)
        assert len(found) == kinds
        assert abs(counts - 4000 / kinds).max() < 160
    assert RandomFlip("horizontal")(x, rng=rng())[:, 0, 0].max() == 1


def test_noise_has_its_standard_deviation() -> None:
    x = np.full((10, 100, 100), 100.0)
    noise = GaussianNoise(5.0)(x, rng=rng()) - x
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx(5.0, rel=0.02)


def test_a_rectangle_of_the_right_size_is_erased() -> None:
    x = np.ones((500, 40, 40, 2))
    erased = RandomErasing(0.7, scale=(0.1, 0.2), fill_value=0)(x, rng=rng()) == 0
    np.testing.assert_array_equal(erased[..., 0], erased[..., 1])
    parts = erased[..., 0].mean(axis=(1, 2))
    chosen = parts > 0
    assert abs(chosen.mean() - 0.7) < 0.07
    assert parts[chosen].min() > 0.09
    assert parts[chosen].max() < 0.21
    for rows, columns, part in zip(
        erased[chosen, ..., 0].any(axis=2), erased[chosen, ..., 0].any(axis=1), parts[chosen], strict=True
    ):
        assert rows.sum() * columns.sum() == round(part * 1600)  # full, so a rectangle
        assert 0.25 < columns.sum() / rows.sum() < 4
    random = RandomErasing(scale=(1, 1), value_range=(2, 3), ratio=(1, 1))(x, rng=rng())
    assert 2 <= random.min() < 2.01
    assert 2.99 < random.max() <= 3


def test_mixup_mixes_targets_as_it_mixes_pictures() -> None:
    x = np.eye(6).reshape(6, 2, 3)
    y = np.eye(6, dtype="uint8")
    mixed, targets = MixUp(1.0)(x, y, rng=rng())
    np.testing.assert_allclose(mixed.reshape(6, 6), targets, atol=1e-6)
    assert targets.dtype == "float32"
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    assert MixUp()(pictures(6, 4, 4, dtype="uint8"), y, rng=rng())[0].dtype == "uint8"
    regression = MixUp(1.0)(x, np.arange(6.0), rng=rng())[1]
    np.testing.assert_allclose(regression, mixed.reshape(6, 6) @ np.arange(6.0), atol=1e-6)


def test_in_a_dataset_each_epoch_has_other_pictures_and_each_run_the_same() -> None:
    x, y = pictures(20, 8, 8, dtype="uint8"), tinynn.to_categorical(np.arange(20) % 4)

    def pipeline() -> Dataset:
        dataset = Dataset.from_arrays(x, y).shuffle(seed=3).batch(8)
        for augment in (RandomFlip(), RandomAffine(RandomRotation(0.1)), GaussianNoise(3.0), MixUp()):
            dataset = dataset.map(augment, seed=3)
        return dataset.prefetch(2)

    dataset = pipeline()
    epochs = [list(dataset) for _ in range(2)]
    resumed = list(pipeline().iterate(epoch=1, skip=1))
    assert len(resumed) == 2
    for (x_whole, y_whole), (x_rest, y_rest) in zip(epochs[1][1:], resumed, strict=True):
        np.testing.assert_array_equal(x_whole, x_rest)
        np.testing.assert_array_equal(y_whole, y_rest)
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])


MISTAKES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("fill_mode", lambda: RandomRotation(0.1, fill_mode="mirror"), ValueError, "unknown fill_mode 'mirror'"),
    ("mode", lambda: RandomFlip("horizontl"), ValueError, "unknown mode 'horizontl'. Did you mean 'horizontal'"),
    ("factor", lambda: RandomRotation(-0.1), ValueError, "RandomRotation: factor must be a number from 0 up, got -0.1"),
    (
        "pair",
        lambda: RandomZoom((0.1, -0.1)),
        ValueError,
        "RandomZoom: height_factor must be two numbers, from",
    ),
    ("zoom", lambda: RandomZoom((-1.0, 0.0)), ValueError, "height_factor must be a number from -0.99 up, got -1.0"),
    ("translation", lambda: RandomTranslation(2, 0), ValueError, "height_factor must be a number from 0 to 1, got 2"),
    ("scale", lambda: RandomErasing(scale=0.1), ValueError, "RandomErasing: scale must be two numbers, .* got 0.1"),
    ("alpha", lambda: MixUp(0), ValueError, "MixUp: alpha must be a number from 0.001"),
    ("parts", lambda: RandomAffine(RandomFlip()), TypeError, "got tinynn.data.augmentation.RandomFlip"),
    ("no parts", lambda: RandomAffine(), TypeError, "got none"),
    (
        "rows",
        lambda: RandomFlip()(np.zeros((5, 784)), rng=rng()),
        ValueError,
        r"got \(5, 784\)\. In a Dataset, map",
    ),
    (
        "list",
        lambda: RandomFlip()([[1]], rng=rng()),
        TypeError,
        "pictures as a NumPy array, got builtins.list",
    ),
    (
        "truth",
        lambda: RandomFlip()(np.zeros((2, 2, 2), bool), rng=rng()),
        ValueError,
        "of numbers, got dtype bool",
    ),
    (
        "alone",
        lambda: MixUp()(np.zeros((2, 2, 2)), rng=rng()),
        ValueError,
        r"expected a batch \(x, y\), got 1 ent",
    ),
    ("classes", lambda: MixUp()(np.zeros((2, 2, 2)), np.arange(2), rng=rng()), ValueError, r"tinynn\.to_categorical"),
    ("abstract", lambda: Augmentation()(np.zeros((2, 2, 2)), rng=rng()), NotImplementedError, "needs a method change"),
]


@pytest.mark.parametrize(
    ("mistake", "kind", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


@pytest.mark.parity
@given(seed=st.integers(0, 999), mode=st.sampled_from(FILL_MODES), order=st.integers(0, 1))
def test_resampling_is_that_of_scipy(seed: int, mode: str, order: int) -> None:
    from scipy import ndimage

    generator = np.random.default_rng(seed)
    x = generator.random((2, *generator.integers(1, 9, 2)))
    matrices = generator.normal(size=(2, 3, 3)) * [1, 1, 4]
    matrices[:, 2] = [0, 0, 1]
    found = resample(x, matrices, mode, ("nearest", "bilinear")[order], 7.0)
    names = {"constant": "grid-constant", "wrap": "grid-wrap"}
    for picture, matrix, ours in zip(x, matrices, found, strict=True):
        expected = ndimage.affine_transform(picture, matrix, order=order, mode=names.get(mode, mode), cval=7.0)
        np.testing.assert_allclose(ours, expected, atol=1e-9)


@pytest.mark.parity
@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("RandomTranslation", [(0.3, 0.3), (-0.2, -0.2)]),
        ("RandomRotation", [(0.07, 0.07)]),
        ("RandomRotation", [(-0.2, -0.2)]),
        ("RandomZoom", [(0.3, 0.3), (-0.2, -0.2)]),
        ("RandomZoom", [(-0.4, -0.4)]),
    ],
)
def test_the_layers_of_keras_do_the_same(keras: Any, name: str, factors: list[Any], fill_mode: str) -> None:
    x = pictures(2, 9, 12, 3, dtype="float32")
    options: dict[str, Any] = {"fill_mode": fill_mode, "fill_value": 5.0}
    ours = getattr(tinynn.data.augmentation, name)(*factors, **options)(x, rng=rng())
    theirs = getattr(keras.layers, name)(*factors, **options)(x, training=True)
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=0.02)
