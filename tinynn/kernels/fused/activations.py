"""The activations that work on every number by itself; the plain lines are in tinynn/layers.

The factors of a loop are made in the type of its numbers first: 0.5 alone is a float64, and one float64 makes all
float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import exp, expm1, loop
from tinynn.kernels.fused.elementwise import each, flat, in_type
from tinynn.kernels.fused.memory import empty

ROOT_2_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715


@loop
def sigmoid_of(x: Any, one: Any) -> Any:
    """Return the sigmoid of one number, from exp(-|x|)."""
    negative = x < 0
    e = exp(x if negative else -x, one)
    return (e if negative else one) / (one + e)


@loop
def _sigmoid(x: Any, y: Any) -> None:
    one = x.dtype.type(1)
    for i in range(x.size):
        y[i] = sigmoid_of(x[i], one)


@loop
def _sigmoid_backward(dy: Any, y: Any, dx: Any) -> None:
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dy[i] * y[i] * (one - y[i])


@loop
def _silu(x: Any, y: Any) -> None:
    one = x.dtype.type(1)
    for i in range(x.size):
        y[i] = x[i] * sigmoid_of(x[i], one)


@loop
def _silu_backward(dy: Any, x: Any, dx: Any) -> None:
    one = x.dtype.type(1)
    for i in range(x.size):
        s = sigmoid_of(x[i], one)
        dx[i] = dy[i] * s + dy[i] * x[i] * s * (one - s)


@loop
def normal_of(x: Any, one: Any, half: Any, most: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Return P(x) and exp(-x^2 / 2); the polynomials `a` and `b` are those of tinynn.layers.smooth.normal."""
    u = -x if x < 0 else x
    u = most if u > most else u
    above = (((((a[0] * u + a[1]) * u + a[2]) * u + a[3]) * u + a[4]) * u + a[5]) * u + a[6]
    below = ((((((b[0] * u + b[1]) * u + b[2]) * u + b[3]) * u + b[4]) * u + b[5]) * u + b[6]) * u + b[7]
    e = exp(-half * u * u, one)
    q = e * above / below
    return (one - q if x > 0 else q), e


@loop
def _gelu(x: Any, a: Any, b: Any, y: Any) -> None:
    f = x.dtype.type
    one, half, most = f(1), f(0.5), f(40)
    for i in range(x.size):
        P, _ = normal_of(x[i], one, half, most, a, b)
        y[i] = x[i] * P


@loop
def _gelu_backward(dy: Any, x: Any, a: Any, b: Any, dx: Any) -> None:
    f = x.dtype.type
    one, half, most, density = f(1), f(0.5), f(40), f(1 / math.sqrt(2 * math.pi))
    for i in range(x.size):
        P, e = normal_of(x[i], one, half, most, a, b)
        dx[i] = dy[i] * P + dy[i] * x[i] * (e * density)


@loop
def _gelu_tanh(x: Any, y: Any) -> None:
    f = x.dtype.type
    one, two_k, cubic = f(1), f(2 * ROOT_2_PI), f(CUBIC)
    for i in range(x.size):
        v = x[i]
        y[i] = v * sigmoid_of(two_k * (v + cubic * v * v * v), one)


@loop
def _gelu_tanh_backward(dy: Any, x: Any, dx: Any) -> None:
    f = x.dtype.type
    one, two_k, cubic, cubic3 = f(1), f(2 * ROOT_2_PI), f(CUBIC), f(3 * CUBIC)
    for i in range(x.size):
        v = x[i]
        P = sigmoid_of(two_k * (v + cubic * v * v * v), one)
        p = two_k * P * (one - P) * (one + cubic3 * v * v)
        dx[i] = dy[i] * P + dy[i] * v * p


def _clip(x: Any, least: Any, most: Any, y: Any) -> None:
    np.clip(x, least, most, out=y)  # NumPy does it in one pass


@loop
def _relu(x: Any, most: Any, y: Any) -> None:
    zero, most = x.dtype.type(0), x.dtype.type(most)
    for i in range(x.size):
        v = zero if x[i] < zero else x[i]
        y[i] = most if v > most else v


@loop
def _relu_backward(dy: Any, y: Any, most: Any, dx: Any) -> None:
    zero, one, most = dx.dtype.type(0), dx.dtype.type(1), y.dtype.type(most)
    unbounded = most == np.inf
    for i in range(y.size):
        dx[i] = dy[i] * (one if (y[i] > 0) & ((y[i] < most) | unbounded) else zero)


@loop
def _leaky_relu(x: Any, slope: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = x[i] * slope if x[i] < 0 else x[i]


@loop
def _leaky_relu_backward(dy: Any, x: Any, slope: Any, dx: Any) -> None:
    zero, one = dx.dtype.type(0), dx.dtype.type(1)
    for i in range(x.size):
        dx[i] = dy[i] * (one if x[i] >= 0 else slope if x[i] < 0 else zero)


@loop
def _elu(x: Any, scale: Any, alpha: Any, rate: Any, y: Any) -> None:
    one = x.dtype.type(1)
    for i in range(x.size):
        v = x[i]
        y[i] = scale * (v if v > 0 else alpha * expm1(v * rate, one))


@loop
def _elu_backward(dy: Any, y: Any, scale: Any, alpha: Any, rate: Any, dx: Any) -> None:
    least = scale * alpha
    for i in range(y.size):
        dx[i] = dy[i] * (scale if y[i] > 0 else rate * (y[i] + least))


@loop
def _hard_swish(x: Any, y: Any) -> None:
    f = x.dtype.type
    zero, three, six = f(0), f(3), f(6)
    for i in range(x.size):
        z = x[i] + three
        z = zero if z < zero else z
        z = six if z > six else z
        y[i] = x[i] * (z / six)


@loop
def _hard_swish_backward(dy: Any, x: Any, dx: Any) -> None:
    f = x.dtype.type
    zero, one, three, six = f(0), f(1), f(3), f(6)
    for i in range(x.size):
        z = x[i] + three
        bent = one if (z > zero) & (z < six) else zero
        z = zero if z < zero else z
        z = six if z > six else z
        dx[i] = dy[i] * (z / six) + dy[i] * (x[i] / six) * bent


@loop
def _hard_sigmoid(x: Any, y: Any) -> None:
    f = x.dtype.type
    zero, three, six = f(0), f(3), f(6)
    for i in range(x.size):
        z = x[i] + three
        z = zero if z < zero else z
        z = six if z > six else z
        y[i] = z / six


@loop
def _hard_sigmoid_backward(dy: Any, y: Any, dx: Any) -> None:
    f = dx.dtype.type
    zero, one, sixth = f(0), f(1), f(1 / 6)
    for i in range(y.size):
        dx[i] = dy[i] * (sixth if (y[i] > zero) & (y[i] < one) else zero)


@loop
def _hard_tanh_backward(dy: Any, x: Any, dx: Any) -> None:
    zero, one = dx.dtype.type(0), dx.dtype.type(1)
    for i in range(x.size):
        dx[i] = dy[i] * (one if (x[i] >= -one) & (x[i] <= one) else zero)


@loop
def _glu(x: Any, y: Any) -> None:
    one = x.dtype.type(1)
    F = y.shape[1]
    for n in range(y.shape[0]):
        a, b = x[n, :F], x[n, F:]
        for i in range(F):
            y[n, i] = a[i] * sigmoid_of(b[i], one)


@loop
def _glu_backward(dy: Any, x: Any, dx: Any) -> None:
    one = x.dtype.type(1)
    F = dy.shape[1]
    for n in range(dy.shape[0]):
        a, b, da, db = x[n, :F], x[n, F:], dx[n, :F], dx[n, F:]
        for i in range(F):
            s = sigmoid_of(b[i], one)
            da[i] = dy[n, i] * s
            db[i] = dy[n, i] * a[i] * s * (one - s)


@loop
def _decay(x: Any, y: Any) -> None:
    one = x.dtype.type(1)
    for i in range(x.size):
        y[i] = exp(x[i] if x[i] < 0 else -x[i], one)


@loop
def _log_sigmoid_backward(dy: Any, y: Any, dx: Any) -> None:
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = -dy[i] * expm1(y[i], one)


def sigmoid(x: Array) -> Array:
    """Return the sigmoid of x."""
    return each(_sigmoid, x)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the sigmoid's output."""
    return each(_sigmoid_backward, dy, y)


def silu(x: Array) -> Array:
    """Return x sigmoid(x)."""
    return each(_silu, x)


def silu_backward(dy: Array, x: Array) -> Array:
    """Return dx."""
    return each(_silu_backward, dy, x)


def gelu(x: Array, above: tuple[float, ...], below: tuple[float, ...]) -> Array:
    """Return x P(x); `above` and `below` are the polynomials of P, the highest power first."""
    return each(_gelu, x, constants=(in_type(above, x), in_type(below, x)))


def gelu_backward(dy: Array, x: Array, above: tuple[float, ...], below: tuple[float, ...]) -> Array:
    """Return dx."""
    return each(_gelu_backward, dy, x, constants=(in_type(above, x), in_type(below, x)))


def gelu_tanh(x: Array) -> Array:
    """Return x P(x), P by the formula with tanh: (1 + tanh(z)) / 2 is the sigmoid of 2 z."""
    return each(_gelu_tanh, x)


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """Return dx."""
    return each(_gelu_tanh_backward, dy, x)


def relu(x: Array, max_value: float) -> Array:
    """Return x, at least 0 and at most `max_value`."""
    return each(_relu, x, constants=(max_value,))


def relu_backward(dy: Array, y: Array, max_value: float) -> Array:
    """Return dx, given the output: dy where 0 < y < max_value."""
    return each(_relu_backward, dy, y, constants=(max_value,))


def leaky_relu(x: Array, slope: float) -> Array:
    """Return x, times `slope` where it is negative."""
    return each(_leaky_relu, x, constants=in_type((slope,), x))


def leaky_relu_backward(dy: Array, x: Array, slope: float) -> Array:
    """Return dx."""
    return each(_leaky_relu_backward, dy, x, constants=in_type((slope,), x))


def elu(x: Array, scale: float, alpha: float, rate: float) -> Array:
    """Return scale x, or scale alpha (exp(rate x) - 1) where x is negative."""
    return each(_elu, x, constants=in_type((scale, alpha, rate), x))


def elu_backward(dy: Array, y: Array, scale: float, alpha: float, rate: float) -> Array:
    """Return dx, given the output."""
    return each(_elu_backward, dy, y, constants=in_type((scale, alpha, rate), y))


def hard_swish(x: Array) -> Array:
    """Return x min(max(x + 3, 0), 6) / 6."""
    return each(_hard_swish, x)


def hard_swish_backward(dy: Array, x: Array) -> Array:
    """Return dx."""
    return each(_hard_swish_backward, dy, x)


def hard_sigmoid(x: Array) -> Array:
    """Return min(max(x + 3, 0), 6) / 6."""
    return each(_hard_sigmoid, x)


def hard_sigmoid_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the output."""
    return each(_hard_sigmoid_backward, dy, y)


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)); the logarithm is NumPy's."""
    e = each(_decay, x)  # exp(-|x|)
    y = np.log1p(e, out=e)
    y += np.clip(x, 0, np.inf)
    return y


def softplus_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the output."""
    return each(_log_sigmoid_backward, dy, -y)


def log_sigmoid(x: Array) -> Array:
    """Return log(sigmoid(x)) = -log(1 + exp(-x))."""
    y = softplus(-x)
    return np.negative(y, out=y)


def log_sigmoid_backward(dy: Array, y: Array) -> Array:
    """Return dx, given the output."""
    return each(_log_sigmoid_backward, dy, y)


def hard_tanh(x: Array) -> Array:
    """Return x, at least -1 and at most 1."""
    return each(_clip, x, constants=in_type((-1, 1), x))


def hard_tanh_backward(dy: Array, x: Array) -> Array:
    """Return dx."""
    return each(_hard_tanh_backward, dy, x)


def glu(x: Array) -> Array:
    """Return a sigmoid(b), a and b the halves of x along its last axis."""
    y = empty((*x.shape[:-1], x.shape[-1] // 2), dtype=x.dtype)
    _glu(flat(x).reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]))
    return y


def glu_backward(dy: Array, x: Array) -> Array:
    """Return dx."""
    dx = empty(x.shape, dtype=np.result_type(dy, x))
    columns = x.shape[-1]
    _glu_backward(flat(dy).reshape(-1, columns // 2), flat(x).reshape(-1, columns), dx.reshape(-1, columns))
    return dx
