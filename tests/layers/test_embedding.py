"""Embedding and positions: values by hand, token ids that stay whole, and what the messages say."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn import Dense, Input, Sequential, ShapeError
from tinynn.backend import Device, to_device, to_host
from tinynn.check import gradients
from tinynn.layers import (
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Layer,
    PositionEmbedding,
    RotaryEmbedding,
    SinePositionEncoding,
)
from tinynn.layers.embedding import sum_by_number

IDS = np.array([[1, 2, 0], [4, 2, 2]])


def ready(layer: Any, x: Any) -> Any:
    """Return the layer built for x, in float64."""
    layer.dtype = "float64"
    layer(x)
    return layer


# Embedding -----------------------------------------------------------------------------------------------------


def test_embedding_by_hand() -> None:
    embedding = ready(Embedding(5, 2), IDS)
    embedding.W = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(embedding(IDS), [[[2, 3], [4, 5], [0, 1]], [[8, 9], [4, 5], [4, 5]]])
    dy = np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], [[4.0, 40.0], [5.0, 50.0], [6.0, 60.0]]])
    assert embedding.backward(dy) is None
    np.testing.assert_array_equal(embedding.dW, [[3, 30], [1, 10], [13, 130], [0, 0], [4, 40]])


def test_gradients_of_the_batch_before_are_gone() -> None:
    embedding = ready(Embedding(5, 2), IDS)
    for ids in (IDS, np.array([[3, 3, 3]])):
        embedding.backward(np.ones_like(embedding(ids)))
    np.testing.assert_array_equal(embedding.dW[:, 0], [0, 0, 0, 3, 0])


@given(seed=st.integers(0, 2**16), shape=st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_embedding_is_the_product_with_one_hot_rows(seed: int, shape: list[int]) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(4, size=shape)
    embedding = ready(Embedding(4, 3), ids)
    one_hot = np.eye(4)[ids]
    y = embedding(ids)
    np.testing.assert_allclose(y, one_hot @ embedding.W, atol=1e-15)
    dy = rng.normal(size=y.shape)
    embedding.backward(dy)
    np.testing.assert_allclose(embedding.dW, one_hot.reshape(-1, 4).T @ dy.reshape(-1, 3), atol=1e-14)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_ids_of_every_whole_kind_stay_whole(dtype: str, device: Device) -> None:
    ids = (IDS * 63).astype(dtype) if dtype != "int8" else IDS.astype(dtype)
    kinds = []

    class Spy(Embedding):
        def forward(self, x: Any, training: bool = False) -> Any:
            kinds.append(x.dtype)
            return super().forward(x, training)

    def model(where: Any) -> Sequential:
        network = Sequential([Input((3,)), Spy(253, 2), Flatten(), Dense(1)], device=where, seed=3)
        network.compile("sgd", "mse")
        return network

    here, there = model("cpu"), model(device)
    expected, targets = here.predict(ids.astype("int64")), np.ones((2, 1))
    np.testing.assert_allclose(there.predict(ids), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_host(there(to_device(ids, device))), expected, rtol=1e-5, atol=1e-6)
    here.fit(ids.astype("int64"), targets, verbose=0)
    kinds.clear()
    there.fit(ids, targets, verbose=0)
    there.evaluate(ids, targets)
    assert set(kinds) == {np.dtype(dtype)}
    np.testing.assert_allclose(there.get_weights()[0], here.get_weights()[0], rtol=1e-5, atol=1e-6)


def test_large_ids_are_found_exactly() -> None:
    """float32 knows no 16777217: ids that had been cast to it would find their neighbour's vector."""
    embedding = ready(Embedding(2**24 + 2, 1, embeddings_initializer="zeros"), np.zeros((1, 1), int))
    embedding.W[2**24 + 1] = 7.0
    model = Sequential([embedding])
    assert model.takes_integers
    np.testing.assert_array_equal(model.cast(np.array([2**24 + 1])), [2**24 + 1])
    assert embedding(np.array([[2**24 + 1]])) == 7.0


def test_mask_zero() -> None:
    plain, masked = Embedding(5, 2), Embedding(5, 2, mask_zero=True)
    before = np.array([[True, False, True], [True, True, False]])
    for layer in (plain, masked):
        layer(IDS)
    assert plain.forward_with_mask(IDS)[1] is None
    assert plain.forward_with_mask(IDS, mask=before)[1] is before
    np.testing.assert_array_equal(masked.forward_with_mask(IDS)[1], [[True, True, False], [True, True, True]])
    np.testing.assert_array_equal(
        masked.forward_with_mask(IDS, mask=before)[1], [[True, False, False], [True, True, False]]
    )


def test_the_mask_reaches_the_average() -> None:
    model = Sequential([Input((3,)), Embedding(5, 2, mask_zero=True), PositionEmbedding(3), GlobalAveragePooling1D()])
    y = model(IDS)
    W, P = model.get_weights()
    np.testing.assert_allclose(y[0], (W[1] + P[0] + W[2] + P[1]) / 2, rtol=1e-5)


def test_sums_keep_their_digits_by_cupys_way_of_summing(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's reduceat is a difference of running sums, in which a rare thing's small gradient can drown."""

    def reduceat(rows: Any, starts: Any, axis: int, dtype: Any = None) -> Any:
        rows, ends = to_host(rows), np.append(to_host(starts), len(rows))
        sums = np.insert(rows.cumsum(axis, dtype=dtype), 0, 0, axis)
        return fake_cupy.asarray(sums[ends[1:]] - sums[ends[:-1]])

    monkeypatch.setattr(fake_cupy, "add", SimpleNamespace(reduceat=reduceat), raising=False)
    ids, rows = np.array([0] * 5000 + [1]), np.full((5001, 1), 100, "float32")
    rows[-1] = 0.1
    there = [fake_cupy.asarray(array) for array in (ids, rows, np.ones((3, 1), "float32"))]
    np.testing.assert_allclose(to_host(sum_by_number(*there)), [[500_000], [0.1], [0]], rtol=1e-6)


# Positions -----------------------------------------------------------------------------------------------------


def test_position_embedding_by_hand() -> None:
    x = np.ones((2, 2, 1))
    positions = ready(PositionEmbedding(3), x)
    positions.W = np.array([[10.0], [20.0], [30.0]])
    np.testing.assert_array_equal(positions(x)[..., 0], [[11, 21], [11, 21]])
    positions.dW = np.full((3, 1), 9.0)
    dx = positions.backward(np.array([[[1.0], [2.0]], [[3.0], [4.0]]]))
    np.testing.assert_array_equal(dx[..., 0], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(positions.dW, [[4], [6], [0]])


def test_sine_position_encoding_by_hand() -> None:
    y = SinePositionEncoding(max_wavelength=100)(np.zeros((1, 3, 4)))
    waves = [[np.sin(t), np.cos(t), np.sin(t / 10), np.cos(t / 10)] for t in range(3)]
    np.testing.assert_allclose(y, [waves], atol=1e-15)
    odd = SinePositionEncoding(max_wavelength=8)(np.zeros((1, 2, 3)))
    np.testing.assert_allclose(odd, [[[0, 1, 0], [np.sin(1), np.cos(1), np.sin(0.25)]]], atol=1e-15)


def test_rotary_embedding_by_hand() -> None:
    x = np.array([[[1.0, 2.0, 3.0, 4.0]] * 3])
    y = RotaryEmbedding(max_wavelength=100)(x)
    for t in range(3):
        c, s, slow_c, slow_s = np.cos(t), np.sin(t), np.cos(t / 10), np.sin(t / 10)
        expected = [c - 3 * s, 2 * slow_c - 4 * slow_s, 3 * c + s, 4 * slow_c + 2 * slow_s]
        np.testing.assert_allclose(y[0, t], expected, atol=1e-15)


def test_rotary_products_depend_on_the_distance_alone(rng: np.random.Generator) -> None:
    q, k = np.repeat(rng.normal(size=(2, 1, 1, 6)), 9, axis=2)
    turn = RotaryEmbedding()
    qr, kr = turn(q)[0], turn(k)[0]
    products = qr @ kr.T
    for distance in range(-8, 9):
        np.testing.assert_allclose(np.ptp(np.diagonal(products, distance)), 0, atol=1e-13)
    assert np.ptp(products) > 0.1
    np.testing.assert_allclose(products.diagonal(), (q @ k[0].T)[0].diagonal(), atol=1e-13)
    np.testing.assert_allclose((qr**2).sum(axis=1), (q[0] ** 2).sum(axis=1), rtol=1e-13)


@pytest.mark.parametrize("kind", [SinePositionEncoding, RotaryEmbedding])
def test_a_place_is_the_same_in_every_sequence(kind: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 6, 4))
    np.testing.assert_array_equal(kind()(x)[:, :3], kind()(x[:, :3]))


def test_long_sequences_in_float32(rng: np.random.Generator) -> None:
    """Angles are found in float64: at step 5000 float32 would be off by more than its own rounding."""
    x = rng.normal(size=(1, 5000, 4))
    for kind in (SinePositionEncoding, RotaryEmbedding):
        np.testing.assert_allclose(kind()(x.astype("float32")), kind()(x), atol=1e-6)


# What the messages say -----------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("no things", lambda: Embedding(0, 2), ValueError, "Embedding: input_dim must be a whole number from 1 up, got 0"),
    ("no numbers", lambda: Embedding(2, 1.5), ValueError, "Embedding: output_dim must be a whole .* got 1.5"),
    (
        "an unknown initializer",
        lambda: Embedding(2, 2, embeddings_initializer="unifrm"),
        ValueError,
        "Did you mean 'uniform'",
    ),
    ("no positions", lambda: PositionEmbedding(-1), ValueError, "PositionEmbedding: sequence_length .* got -1"),
    (
        "too many steps",
        lambda: PositionEmbedding(2, name="mine")(np.zeros((1, 3, 4))),
        ShapeError,
        r"mine \(PositionEmbedding\) has positions for 2 steps, got \(batch, 3, 4\)\. Make it with sequence_length=3",
    ),
    (
        "too many steps in a model",
        lambda: Sequential([Input((7,)), Embedding(5, 4), PositionEmbedding(6)]).build(),
        ShapeError,
        r"position_embedding \(.*positions for 6 steps, got \(batch, 7, 4\).* comes from embedding \(Embedding\)",
    ),
    (
        "a short wave",
        lambda: SinePositionEncoding(0.5),
        ValueError,
        "SinePositionEncoding: max_wavelength must be a number from 1 up, got 0.5",
    ),
    (
        "no wave",
        lambda: RotaryEmbedding("long"),
        ValueError,
        "RotaryEmbedding: max_wavelength must be a number from 1 up, got 'long'",
    ),
    (
        "odd features",
        lambda: RotaryEmbedding()(np.zeros((1, 2, 3))),
        ShapeError,
        r"RotaryEmbedding turns pairs of features and needs an even number of them, got \(batch, 2, 3\)",
    ),
    (
        "rows to turn",
        lambda: RotaryEmbedding()(np.zeros((2, 4))),
        ShapeError,
        r"RotaryEmbedding expected an input of shape \(batch, steps, features\) or \(batch, heads, steps, features\)",
    ),
    *(
        (
            f"rows for {layer.__name__}",
            lambda layer=layer: layer(2)(np.zeros((2, 4))),
            ShapeError,
            rf"{layer.__name__} expected an input of shape \(batch, steps, features\) with at least one step, got",
        )
        for layer in (PositionEmbedding, SinePositionEncoding)
    ),
    (
        "an embedding that is not first",
        lambda: Sequential([Input((2, 3)), Flatten(), Embedding(5, 2)])(np.ones((1, 2, 3), int)),
        ValueError,
        r"embedding \(Embedding\) expected whole numbers .*got float32.* in a model it stands first",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_message(mistake: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        mistake()


def used(how: str, ids: Any) -> Any:
    """Use ids that are wrong, by the layer alone or by a model."""
    if how == "layer":
        return Embedding(5, 2, name="embedding")(ids)
    model = Sequential([Input((3,)), Embedding(5, 2), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    y = np.zeros((2, 1))
    if how in ("predict", "__call__"):
        return getattr(model, how)(ids)
    if how == "validation":
        return model.fit(IDS, y, verbose=0, validation_data=(ids, y))
    return getattr(model, how)(ids, y)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS + 1, r"embedding \(Embedding\) has vectors for the numbers 0 to 4, got 5\. Make it with input_dim=6"),
        (IDS - 1, r"embedding \(Embedding\) has vectors for the numbers 0 to 4, got -1\. Numbers count from 0 up"),
        (IDS * 9 - 5, r"embedding \(Embedding\) has vectors for the numbers 0 to 4, got -5\."),
        (IDS * 1.0, r"embedding \(Embedding\) expected whole numbers \(token ids\), got float64\..*astype\('int32'\)"),
        (IDS > 0, r"embedding \(Embedding\) expected whole numbers \(token ids\), got bool\."),
        (IDS[:, :2], r"embedding \(Embedding\) expected an input of shape \(batch, 3\), got \(2, 2\)"),
    ],
    ids=["large", "negative", "both", "float", "bool", "short"],
)
@pytest.mark.parametrize("how", ["layer", "__call__", "predict", "fit", "evaluate", "train_on_batch", "validation"])
def test_wrong_ids(how: str, ids: Any, message: str) -> None:
    if how == "layer" and ids.shape != IDS.shape:
        return  # it is built for what it gets
    with pytest.raises(ValueError, match=message):
        used(how, ids)


def test_ids_that_do_not_fit_on_any_device(device: Device) -> None:
    model = Sequential([Input((3,)), Embedding(5, 2)], device=device)
    model(to_device(IDS, device))
    with pytest.raises(ValueError, match="has vectors for the numbers 0 to 4, got 5"):
        model(to_device(IDS + 1, device))
    layer = Embedding(5, 2)
    assert layer(to_device(IDS, device)).shape == (2, 3, 2)
    with pytest.raises(ValueError, match="got -1"):
        layer(to_device(IDS - 1, device))


def test_wrong_ids_build_nothing_wrong() -> None:
    layer: Layer = Embedding(5, 2)
    with pytest.raises(ValueError, match="whole numbers"):
        layer.forward(IDS * 1.0)
    assert gradients(layer, IDS).ok
