"""Where training starts: the initial values of the parameters.

Names and defaults are Keras's, but there is no ``seed``: the model's decides. All values are drawn on the host in
float64 and then rounded to the model's dtype, so that one seed gives the same network on every device, and in float64
the same to float32's accuracy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.arguments import Shape, resolve
from tinynn.backend import Array
from tinynn.config import Configured


class Initializer(Configured):
    """Base class: called with a shape and a random generator, returns the values.

    One's own initialiser subclasses this and writes `draw`.

    Examples
    --------
    >>> import numpy as np
    >>> class Identity(Initializer):
    ...     def draw(self, shape, rng):
    ...         return np.eye(*shape)
    >>> Identity()((2, 2), np.random.default_rng(0))
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    def __call__(self, shape: Shape, rng: np.random.Generator, dtype: str = "float32") -> Array:
        """Return the initial values.

        Parameters
        ----------
        shape : tuple of int
            The parameter's shape; the last two axes are (inputs, outputs), axes before them a kernel's extent.
        rng : numpy.random.Generator
            Where the randomness comes from.
        dtype : str, default "float32"
            The dtype of the result.
        """
        return np.ascontiguousarray(self.draw(shape, rng), dtype=dtype)

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the values in float64."""
        raise TypeError(f"{type(self).__name__} needs a method draw(self, shape, rng) that returns the values")

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


class Zeros(Initializer):
    """All zeros: the usual start of a bias.

    Examples
    --------
    >>> import numpy as np
    >>> Zeros()((3,), np.random.default_rng(0))
    array([0., 0., 0.], dtype=float32)
    """

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return zeros."""
        return np.zeros(shape)


class Ones(Initializer):
    """All ones: the usual start of a scale.

    Examples
    --------
    >>> import numpy as np
    >>> Ones()((3,), np.random.default_rng(0))
    array([1., 1., 1.], dtype=float32)
    """

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return ones."""
        return np.ones(shape)


class Constant(Initializer):
    """One value everywhere.

    Parameters
    ----------
    value : float, default 0.0

    Examples
    --------
    >>> import numpy as np
    >>> Constant(0.5)((2,), np.random.default_rng(0))
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the constant."""
        return np.full(shape, float(self.value))


class RandomNormal(Initializer):
    """Normal distribution.

    Parameters
    ----------
    mean : float, default 0.0
    stddev : float, default 0.05

    Examples
    --------
    >>> import numpy as np
    >>> RandomNormal(stddev=1.0)((1000,), np.random.default_rng(0)).std().round(1)
    np.float32(1.0)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        self.mean = mean
        self.stddev = stddev

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return mean + stddev * N(0, 1)."""
        return rng.normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """Uniform distribution between two limits.

    Parameters
    ----------
    minval : float, default -0.05
    maxval : float, default 0.05

    Examples
    --------
    >>> import numpy as np
    >>> bool(abs(RandomUniform()((100,), np.random.default_rng(0))).max() <= 0.05)
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05) -> None:
        self.minval = minval
        self.maxval = maxval

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return U(minval, maxval)."""
        return rng.uniform(self.minval, self.maxval, shape)


def fans(shape: Shape) -> tuple[float, float]:
    """Return how many inputs feed one output, and how many outputs one input feeds.

    Examples
    --------
    >>> fans((784, 10)), fans((3, 3, 16, 32))      # Dense, Conv2D
    ((784, 10), (144, 288))
    """
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    extent = math.prod(shape[:-2])
    return extent * shape[-2], extent * shape[-1]


class VarianceScaling(Initializer):
    """Zero mean and variance scale / fan: the signal keeps its size from layer to layer.

    fan is the number of inputs, of outputs, or their mean. A truncated normal distribution is cut at two standard
    deviations and widened so that its variance is still scale / fan; a uniform one has the limits
    +-sqrt(3 scale / fan).

    Parameters
    ----------
    scale : float, default 1.0
    mode : {"fan_in", "fan_out", "fan_avg"}, default "fan_in"
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}, default "truncated_normal"

    Examples
    --------
    >>> import numpy as np
    >>> W = VarianceScaling(2.0)((400, 300), np.random.default_rng(0))
    >>> print(f"{W.var() * 400:.1f}")
    2.0
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal") -> None:
        if scale <= 0:
            raise ValueError(f"VarianceScaling: scale must be above 0, got {scale!r}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"VarianceScaling: mode must be 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                "VarianceScaling: distribution must be 'truncated_normal', 'untruncated_normal' or 'uniform', "
                f"got {distribution!r}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the values."""
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(fan, 1.0)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, math.sqrt(variance), shape)
        # A normal distribution cut at two standard deviations has this part of its standard deviation left.
        stddev = math.sqrt(variance) / 0.87962566103423978
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
        return stddev * values


class GlorotNormal(VarianceScaling):
    """Variance 2 / (inputs + outputs), normal (Glorot & Bengio 2010).

    Examples
    --------
    >>> import numpy as np
    >>> GlorotNormal()((784, 10), np.random.default_rng(0)).shape
    (784, 10)
    """

    def __init__(self) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal")


class GlorotUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010): the usual start of a kernel.

    Examples
    --------
    >>> import numpy as np
    >>> W = GlorotUniform()((4, 2), np.random.default_rng(0))
    >>> bool(abs(W).max() <= 1.0)           # sqrt(6 / 6)
    True
    """

    def __init__(self) -> None:
        super().__init__(1.0, "fan_avg", "uniform")


class HeNormal(VarianceScaling):
    """Variance 2 / inputs, normal: for ReLU, which throws half of the signal away (He et al. 2015).

    Examples
    --------
    >>> import numpy as np
    >>> HeNormal()((784, 10), np.random.default_rng(0)).shape
    (784, 10)
    """

    def __init__(self) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal")


class HeUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / inputs): for ReLU (He et al. 2015).

    Examples
    --------
    >>> import numpy as np
    >>> HeUniform()((784, 10), np.random.default_rng(0)).shape
    (784, 10)
    """

    def __init__(self) -> None:
        super().__init__(2.0, "fan_in", "uniform")


class LecunNormal(VarianceScaling):
    """Variance 1 / inputs, normal (LeCun et al. 1998); SELU wants this one.

    Examples
    --------
    >>> import numpy as np
    >>> LecunNormal()((784, 10), np.random.default_rng(0)).shape
    (784, 10)
    """

    def __init__(self) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal")


class LecunUniform(VarianceScaling):
    """Uniform in +-sqrt(3 / inputs) (LeCun et al. 1998).

    Examples
    --------
    >>> import numpy as np
    >>> LecunUniform()((784, 10), np.random.default_rng(0)).shape
    (784, 10)
    """

    def __init__(self) -> None:
        super().__init__(1.0, "fan_in", "uniform")


class Orthogonal(Initializer):
    """Orthonormal columns (or rows, if there are fewer rows), times `gain` (Saxe, McClelland & Ganguli 2014).

    Parameters
    ----------
    gain : float, default 1.0

    Raises
    ------
    ValueError
        If the parameter has fewer than two axes.

    Examples
    --------
    >>> import numpy as np
    >>> Q = Orthogonal()((5, 3), np.random.default_rng(0), "float64")
    >>> np.allclose(Q.T @ Q, np.eye(3))
    True
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the Q of a random matrix's QR decomposition, with the signs that make it uniformly distributed."""
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs a parameter with at least two axes, got the shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        result: Array = self.gain * (q if rows >= columns else q.T).reshape(shape)
        return result


INITIALIZERS: dict[str, type[Initializer]] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "normal": RandomNormal,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "uniform": RandomUniform,
    "zeros": Zeros,
}


def get(initializer: Any) -> Initializer:
    """Return the initialiser for a name, a class or an instance.

    Examples
    --------
    >>> get("he_normal")
    HeNormal(scale=2.0, mode='fan_in', distribution='truncated_normal')
    """
    result: Initializer = resolve("initializer", initializer, Initializer, INITIALIZERS)
    return result
