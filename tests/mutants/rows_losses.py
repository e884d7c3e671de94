"""Planted bugs in losses."""

from __future__ import annotations

import numpy as np

from tests.mutants.mutant import Mutant, Shape
from tests.test_losses import softmax
from tinynn import losses


def probabilities(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return softmax(rng.normal(size=shape))


def positive(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.exp(rng.normal(size=shape))


def numbers(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.normal(size=shape)


def far(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return 3 * rng.normal(size=shape)


def counts(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.poisson(2, size=shape)


def yes_no(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.integers(2, size=shape).astype(float)


def one_hot(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.eye(shape[-1])[rng.integers(shape[-1], size=shape[:-1])]


def classes(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.integers(shape[-1], size=shape[:-1])


def labels(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.integers(1, shape[-1], size=(shape[0], 2))


SHAPE = (4, 3)

ROWS = [
    Mutant(
        "MeanSquaredError, without the 2",
        losses.MeanSquaredError, SHAPE, losses.MeanSquaredError.gradient,
        "dy = 2 * dv * e",
        "dy = dv * e",
        ("factor",),
        "half the squared error in the derivation, the squared error in the code",
        targets=numbers,
    ),
    Mutant(
        "MeanSquaredError, target minus prediction",
        losses.MeanSquaredError, SHAPE, losses.MeanSquaredError.gradient,
        "dy = 2 * dv * e",
        "dy = -2 * dv * e",
        ("sign",),
        "error = y - output, as in the '11 lines', whose update then adds",
        targets=numbers,
    ),
    Mutant(
        "MeanSquaredError, without the mean",
        losses.MeanSquaredError, SHAPE, losses.MeanSquaredError.gradient,
        "dy = 2 * dv * e",
        "dy = 2 * e",
        ("factor N",),
        "the learning rate then depends on the batch size",
        targets=numbers,
    ),
    Mutant(
        "MeanAbsoluteError, the squared error's gradient",
        losses.MeanAbsoluteError, SHAPE, losses.MeanAbsoluteError.gradient,
        "dy = dv * xp.sign(e)",
        "dy = dv * e",
        ("wrong derivative", "factor too much"),  # e is sign(e) times |e|
        targets=numbers,
    ),
    Mutant(
        "LogCosh, without tanh",
        losses.LogCosh, SHAPE, losses.LogCosh.gradient,
        "dy = dv * xp.tanh(e)",
        "dy = dv * e",
        ("wrong derivative",),
        targets=numbers,
    ),
    Mutant(
        "Poisson, the wrong way round",
        losses.Poisson, SHAPE, losses.Poisson.gradient,
        "dy = dv * (1 - t / s)",
        "dy = dv * (t / s - 1)",
        ("sign",),
        draw=positive, targets=counts,
    ),
    Mutant(
        "KLDivergence, not weighted by the target",
        losses.KLDivergence, SHAPE, losses.KLDivergence.gradient,
        "dp = -dv * t / p",
        "dp = -dv / p",
        ("missing factor",),
        draw=probabilities, targets=probabilities,
    ),
    Mutant(
        "CosineSimilarity, the length taken for a constant",
        losses.CosineSimilarity, SHAPE, losses.CosineSimilarity.gradient,
        "dy = (du - u * (du * u).sum(axis=self.axis, keepdims=True)) / n",
        "dy = du / n",
        ("missing term",),
        targets=numbers,
    ),
    Mutant(
        "CategoricalCrossentropy(logits), without the mean",
        lambda: losses.CategoricalCrossentropy(from_logits=True), SHAPE, losses.CategoricalCrossentropy.gradient,
        "dz = dv * (q * T - t)",
        "dz = q * T - t",
        ("factor N",),
        "delta = p - y of every textbook is of one sample; the loss printed beside it is a mean",
        targets=one_hot,
    ),
    Mutant(
        "CategoricalCrossentropy(logits), the mean twice",
        lambda: losses.CategoricalCrossentropy(from_logits=True), SHAPE, losses.CategoricalCrossentropy.gradient,
        "dz = dv * (q * T - t)",
        "dz = dv * (q * T - t) / len(q)",
        ("factor 1/N",),
        targets=one_hot,
    ),
    Mutant(
        "CategoricalCrossentropy(logits), target minus prediction",
        lambda: losses.CategoricalCrossentropy(from_logits=True), SHAPE, losses.CategoricalCrossentropy.gradient,
        "dz = dv * (q * T - t)",
        "dz = dv * (t - q * T)",
        ("sign",),
        targets=one_hot,
    ),
    Mutant(
        "CategoricalCrossentropy, the minus of the logarithm",
        losses.CategoricalCrossentropy, SHAPE, losses.CategoricalCrossentropy.gradient,
        "dq = -dv * t / q",
        "dq = dv * t / q",
        ("sign",),
        draw=positive, targets=one_hot,
    ),
    Mutant(
        "CategoricalCrossentropy, the sum taken for a constant",
        losses.CategoricalCrossentropy, SHAPE, losses.CategoricalCrossentropy.gradient,
        "dp = (dq - (dq * q).sum(axis=-1, keepdims=True)) / s",
        "dp = dq / s",
        ("missing term",),
        draw=positive, targets=one_hot,
    ),
    Mutant(
        "SparseCategoricalCrossentropy(logits), without the mean",
        lambda: losses.SparseCategoricalCrossentropy(from_logits=True), SHAPE,
        losses.SparseCategoricalCrossentropy.gradient,
        "dz = dv * q.reshape(shape)",
        "dz = q.reshape(shape)",
        ("factor N",),
        targets=classes,
    ),
    Mutant(
        "BinaryCrossentropy(logits), the sigmoid's derivative once more",
        lambda: losses.BinaryCrossentropy(from_logits=True), SHAPE, losses.BinaryCrossentropy.gradient,
        "dz = dv * (p - t)",
        "dz = dv * (p - t) * p * (1 - p)",
        ("factor too much",),
        "p - t has the sigmoid's derivative in it already; taken twice it is the squared error's gradient",
        targets=yes_no,
    ),
    Mutant(
        "BinaryCrossentropy, the logits' formula",
        losses.BinaryCrossentropy, SHAPE, losses.BinaryCrossentropy.gradient,
        "dp = dv * (p - t) / (p * (1 - p))",
        "dp = dv * (p - t)",
        ("missing factor", "factor too much"),
        draw=probabilities, targets=yes_no,
    ),
    Mutant(
        "BinaryFocalCrossentropy(logits), the weight taken for a constant",
        lambda: losses.BinaryFocalCrossentropy(from_logits=True), SHAPE, losses.BinaryFocalCrossentropy.gradient,
        "dz = dc * (p - t) + dm * (1 - 2 * t) * p * q",
        "dz = dc * (p - t)",
        ("missing term",),
        "(1 - p)^gamma depends on the logits too",
        targets=yes_no,
    ),
    Mutant(
        "Hinge, beyond the margin too",
        losses.Hinge, SHAPE, losses.Hinge.gradient,
        "dy = -dv * t * (v > 0)",
        "dy = -dv * t",
        ("missing mask",),
        draw=far, targets=yes_no,
    ),
    Mutant(
        "SquaredHinge, without the 2",
        losses.SquaredHinge, SHAPE, losses.SquaredHinge.gradient,
        "dm = 2 * dv * m",
        "dm = dv * m",
        ("factor",),
        targets=yes_no,
    ),
    Mutant(
        "CategoricalHinge, the sign of the true class",
        losses.CategoricalHinge, SHAPE, losses.CategoricalHinge.gradient,
        "dp = -dm",
        "dp = dm",
        ("sign",),
        targets=one_hot,
    ),
    Mutant(
        "CTC, counts minus probabilities",
        losses.CTC, (2, 6, 4), losses.CTC.gradient,
        "dz = dv * (q - g @ of_class)",
        "dz = dv * (g @ of_class - q)",
        ("sign",),
        targets=labels,
    ),
]  # fmt: skip
