"""The activations, alone and with a bias before them; the plain lines are in tinynn/layers.

Every activation is a formula for one number, forward and backward, and becomes four kernels:

    NAME_each             y = act(x)                                 a thread a number, blocks of 256
    NAME_backward_each    dx = dy act'(x), from x or from y          likewise
    NAME_biased           y = act(z + b)                             likewise; a over z where backward needs it
    NAME_biased_backward  da = dy act'(a), db = sum_n da             columns: see columns.py

Shapes   x, y, dy, dx, z, a, da (N, O), b, db (O,)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinynn.backend import Array, array_module
from tinynn.kernels.cuda.columns import HEAD, LANES, add_slabs, column_sums, grid_for
from tinynn.kernels.cuda.compiler import THREADS, Source, blocks_for, flat


class Activation(NamedTuple):
    """One activation.

    Attributes
    ----------
    numbers : tuple of str
        Its settings, as both formulas call them.
    keeps : {"x", "y"}
        What the backward formula has beside dy.
    forward, backward : str
        The bodies of C functions ``T f(T x, numbers)`` and ``T f(T dy, T x or y, numbers)``.
    twin, backward_twin : function
        The same in NumPy, for arrays.
    """

    numbers: tuple[str, ...]
    keeps: str
    forward: str
    backward: str
    twin: Callable[..., Any]
    backward_twin: Callable[..., Any]


def sigmoid_twin(x: Array) -> Array:
    """Return the sigmoid."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def normal_twin(x: Array) -> tuple[Array, Array]:
    """Return how likely a normal number is below x, and its density there."""
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)
    return below, np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def gelu_backward_twin(dy: Array, x: Array) -> Array:
    """Return dx."""
    below, density = normal_twin(x)
    return dy * (below + x * density)


K, CUBIC = math.sqrt(8 / math.pi), 0.044715  # P(x) is about sigmoid(K (x + CUBIC x^3))


def gelu_tanh_backward_twin(dy: Array, x: Array) -> Array:
    """Return dx."""
    P = sigmoid_twin(K * (x + CUBIC * x**3))
    return dy * (P + x * K * P * (1 - P) * (1 + 3 * CUBIC * x * x))


def silu_backward_twin(dy: Array, x: Array) -> Array:
    """Return dx."""
    s = sigmoid_twin(x)
    return dy * (s + x * s * (1 - s))


ACTIVATIONS = {
    "linear": Activation((), "y", "return x;", "return dy;", lambda x: x, lambda dy, y: dy),
    "relu": Activation(
        ("most",),
        "y",
        "T v = x < 0 ? T(0) : x; return v > most ? most : v;",  # NaN is neither, and stays
        "return y > 0 && (y < most || isinf(most)) ? dy : dy * T(0);",
        lambda x, most: np.clip(x, 0, most),
        lambda dy, y, most: dy * ((y > 0) & ((y < most) | (most == np.inf))),
    ),
    "leaky_relu": Activation(
        ("slope",),
        "x",
        "return x < 0 ? x * slope : x;",
        "return dy * (x >= 0 ? T(1) : x < 0 ? slope : T(0));",
        lambda x, slope: np.where(x < 0, slope * x, x),
        lambda dy, x, slope: dy * np.where(x >= 0, 1, slope),
    ),
    "elu": Activation(
        ("scale", "alpha", "rate"),
        "y",
        "return scale * (x > 0 ? x : alpha * expm1(x * rate));",
        "return dy * (y > 0 ? scale : rate * (y + scale * alpha));",
        lambda x, scale, alpha, rate: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) * rate)),
        lambda dy, y, scale, alpha, rate: dy * np.where(y > 0, scale, rate * (y + scale * alpha)),
    ),
    "tanh": Activation((), "y", "return tanh(x);", "return dy * (1 - y * y);", np.tanh, lambda dy, y: dy * (1 - y * y)),
    "sigmoid": Activation(
        (), "y", "return sigmoid_of(x);", "return dy * y * (1 - y);", sigmoid_twin, lambda dy, y: dy * y * (1 - y)
    ),
    "log_sigmoid": Activation(
        (),
        "y",
        "return (x < 0 ? x : T(0)) - log1p(exp(-fabs(x)));",
        "return -dy * expm1(y);",
        lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
        lambda dy, y: -dy * np.expm1(y),
    ),
    "softplus": Activation(
        (),
        "y",
        "return (x < 0 ? T(0) : x) + log1p(exp(-fabs(x)));",
        "return -dy * expm1(-y);",
        lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        lambda dy, y: -dy * np.expm1(-y),
    ),
    "silu": Activation(
        (),
        "x",
        "return x * sigmoid_of(x);",
        "return dy * sigmoid_of(x) + dy * x * sigmoid_slope(x);",
        lambda x: x * sigmoid_twin(x),
        silu_backward_twin,
    ),
    "gelu": Activation(
        (),
        "x",
        "return x * (T(0.5) * erfc(-x * T(0.70710678118654752)));",
        "T P = T(0.5) * erfc(-x * T(0.70710678118654752)), p = exp(T(-0.5) * x * x) * T(0.39894228040143268);"
        " return dy * P + dy * x * p;",
        lambda x: x * normal_twin(x)[0],
        gelu_backward_twin,
    ),
    "gelu_tanh": Activation(
        (),
        "x",
        "return x * sigmoid_of(K * (x + CUBIC * x * x * x));",
        "T z = K * (x + CUBIC * x * x * x);"
        " return dy * sigmoid_of(z) + dy * x * (sigmoid_slope(z) * K * (1 + 3 * CUBIC * x * x));",
        lambda x: x * sigmoid_twin(K * (x + CUBIC * x**3)),
        gelu_tanh_backward_twin,
    ),
    "hard_sigmoid": Activation(
        (),
        "y",
        "return between(x + 3, 0, 6) / 6;",
        "return dy * (y > 0 && y < 1 ? T(1.0 / 6) : T(0));",
        lambda x: np.clip(x + 3, 0, 6) / 6,
        lambda dy, y: dy * (((y > 0) & (y < 1)) / 6),
    ),
    "hard_swish": Activation(
        (),
        "x",
        "return x * (between(x + 3, 0, 6) / 6);",
        "T z = x + 3; return dy * (between(z, 0, 6) / 6) + dy * (x / 6) * (z > 0 && z < 6 ? T(1) : T(0));",
        lambda x: x * (np.clip(x + 3, 0, 6) / 6),
        lambda dy, x: dy * (np.clip(x + 3, 0, 6) / 6) + dy * (x / 6) * ((x + 3 > 0) & (x + 3 < 6)),
    ),
    "hard_tanh": Activation(
        (),
        "x",
        "return between(x, -1, 1);",
        "return dy * (x >= -1 && x <= 1 ? T(1) : T(0));",
        lambda x: np.clip(x, -1, 1),
        lambda dy, x: dy * ((x >= -1) & (x <= 1)),
    ),
}

SHARED = rf"""
#define K T({K!r})
#define CUBIC T({CUBIC!r})

__device__ T sigmoid_of(T x) {{
    T e = exp(-fabs(x));  // cannot overflow
    return (x < 0 ? e : T(1)) / (1 + e);
}}

__device__ T sigmoid_slope(T x) {{
    T e = exp(-fabs(x));  // P (1 - P), exact where P is near 1
    return e / ((1 + e) * (1 + e));
}}

__device__ T between(T x, T least, T most) {{
    x = x < least ? least : x;  // NaN is neither, and stays
    return x > most ? most : x;
}}
"""

KERNELS = r"""
__device__ T forward_NAME(T x NUMBERS) { FORWARD }
__device__ T backward_NAME(T dy, T KEPT NUMBERS) { BACKWARD }

extern "C" __global__ void NAME_each(const T* x, T* y, Size n NUMBERS) {
    EACH(i, n) y[i] = forward_NAME(x[i] GIVEN);
}

extern "C" __global__ void NAME_backward_each(const T* dy, const T* kept, T* dx, Size n NUMBERS) {
    EACH(i, n) dx[i] = backward_NAME(dy[i], kept[i] GIVEN);
}

extern "C" __global__ void NAME_biased(T* z, const T* b, T* y, Size n, Size O NUMBERS) {
    EACH(i, n) {
        T a = z[i] + b[i % O];
        if (y != z) z[i] = a;
        y[i] = forward_NAME(a GIVEN);
    }
}

extern "C" __global__ void OF_COLUMNS NAME_biased_backward(
    const T* dy, const T* kept, T* da, T* parts, Size N, Size O NUMBERS) {
    COLUMN;
    T db = 0;
    if (c < O) IN_SLAB(n, N) {
        T d = backward_NAME(dy[n * O + c], kept[n * O + c] GIVEN);
        da[n * O + c] = d;
        db += d;
    }
    write_lane_sum(db, parts, O);
}
"""


def kernels_of(name: str, activation: Activation) -> str:
    """Return the CUDA C of an activation."""
    text = KERNELS.replace("FORWARD", activation.forward).replace("BACKWARD", activation.backward)
    text = text.replace("KEPT", activation.keeps).replace("NAME", name)
    text = text.replace(" NUMBERS", "".join(f", T {number}" for number in activation.numbers))
    return text.replace(" GIVEN", "".join(f", {number}" for number in activation.numbers))


source = Source("activations", HEAD + SHARED + "".join(kernels_of(*pair) for pair in ACTIVATIONS.items()))


def each(name: str, *arrays: Array, numbers: tuple[float, ...] = ()) -> Array:
    """Return a new array of the first one's shape, filled number by number from all of them."""
    xp: Any = array_module(arrays[0])
    dtype = xp.result_type(*arrays)
    y = xp.empty(arrays[0].shape, dtype=dtype)
    inputs = [flat(x.astype(dtype, copy=False)) for x in arrays]
    source.launch(name, y, blocks_for(y.size), THREADS, *inputs, y, y.size, *map(float, numbers))
    return y


def both(name: str) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Return the functions ``NAME(x, *numbers)`` and ``NAME_backward(dy, x or y, *numbers)``."""
    count = len(ACTIVATIONS[name].numbers)  # others, such as gelu's polynomials on the CPU, are not needed here

    def forward(x: Array, *numbers: Any) -> Array:
        return each(f"{name}_each", x, numbers=numbers[:count])

    def backward(dy: Array, kept: Array, *numbers: Any) -> Array:
        return each(f"{name}_backward_each", dy, kept, numbers=numbers[:count])

    return forward, backward


linear, linear_backward = both("linear")
relu, relu_backward = both("relu")
leaky_relu, leaky_relu_backward = both("leaky_relu")
elu, elu_backward = both("elu")
tanh, tanh_backward = both("tanh")
sigmoid, sigmoid_backward = both("sigmoid")
log_sigmoid, log_sigmoid_backward = both("log_sigmoid")
softplus, softplus_backward = both("softplus")
silu, silu_backward = both("silu")
gelu, gelu_backward = both("gelu")
gelu_tanh, gelu_tanh_backward = both("gelu_tanh")
hard_sigmoid, hard_sigmoid_backward = both("hard_sigmoid")
hard_swish, hard_swish_backward = both("hard_swish")
hard_tanh, hard_tanh_backward = both("hard_tanh")


def biased(z: Array, b: Array, name: str, *numbers: Any) -> tuple[Array, Array]:
    """Return act(z + b), and what `biased_backward` needs; z, which must be contiguous, is written into.

    Parameters
    ----------
    z : array, shape (..., O)
    b : array, shape (O,)
    name : str
        In `ACTIVATIONS`.
    *numbers
        Its settings.
    """
    activation = ACTIVATIONS[name]
    y = z if activation.keeps == "y" else array_module(z).empty_like(z)
    given = map(float, numbers[: len(activation.numbers)])
    source.launch(f"{name}_biased", z, blocks_for(z.size), THREADS, z, flat(b, z), y, z.size, z.shape[-1], *given)
    return y, z


def biased_backward(dy: Array, kept: Array, db: Array, name: str, *numbers: Any) -> Array:
    """Return da, and write its sums down the columns into db (O,)."""
    if name == "linear":
        column_sums(dy, db)
        return dy
    xp: Any = array_module(dy)
    columns = kept.shape[-1]
    rows = kept.size // columns
    grid = grid_for(rows, columns)
    da = xp.empty(kept.shape, dtype=kept.dtype)
    direct = grid[1] == 1 and db.dtype == kept.dtype
    parts = db.reshape(1, columns) if direct else xp.empty((grid[1], columns), dtype=kept.dtype)
    given = map(float, numbers[: len(ACTIVATIONS[name].numbers)])
    arrays = flat(dy, kept), kept, da, parts
    source.launch(f"{name}_biased_backward", kept, grid, 32 * LANES, *arrays, rows, columns, *given)
    if not direct:
        add_slabs(parts, db)
    return da


def biased_twin(z: Array, b: Array, name: str, *numbers: Any) -> Array:
    """Do what `biased` does, with NumPy."""
    return ACTIVATIONS[name].twin(z + b, *numbers)


def biased_backward_twin(dy: Array, kept: Array, name: str, *numbers: Any) -> tuple[Array, Array]:
    """Return da and db, with NumPy."""
    da = ACTIVATIONS[name].backward_twin(dy, kept, *numbers)
    return da, da.reshape(-1, da.shape[-1]).sum(axis=0)
