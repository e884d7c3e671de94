"""Rows: shape (Flatten stands in rows_core), and the scale of the inputs."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.layers.row import Row, Shape, shapes
from tinynn import layers

sequences = shapes(2, 2)
images = shapes(3, 3)


def at_least(*least: int) -> st.SearchStrategy[Shape]:
    """Draw shapes of one sample no smaller than this."""
    return st.tuples(*(st.integers(size, size + 3) for size in least))


SEQUENCE = {"example": (4, 3), "parity_shapes": ((4, 3), (5, 1))}
IMAGE = {"example": (4, 5, 3), "parity_shapes": ((4, 5, 3), (3, 4, 1))}

ROWS = [
    Row(
        "Reshape",
        lambda: layers.Reshape((3, 2)),
        st.sampled_from([(6,), (2, 3), (1, 3, 2)]),
        lambda k: k.layers.Reshape((3, 2)),
        example=(6,),
        parity_shapes=((6,), (2, 3)),
    ),
    Row(
        "Reshape(-1)",
        lambda: layers.Reshape((2, -1, 1)),
        st.tuples(st.integers(1, 3), st.integers(1, 3).map(lambda n: 2 * n)),
        lambda k: k.layers.Reshape((2, -1, 1)),
        example=(3, 4),
        parity_shapes=((6,), (3, 4)),
    ),
    Row("Permute(2, 1)", lambda: layers.Permute((2, 1)), sequences, lambda k: k.layers.Permute((2, 1)), **SEQUENCE),
    Row(
        "Permute(3, 1, 2)",
        lambda: layers.Permute((3, 1, 2)),
        images,
        lambda k: k.layers.Permute((3, 1, 2)),
        **IMAGE,
    ),
    Row(
        "RepeatVector",
        lambda: layers.RepeatVector(3),
        shapes(1, 1),
        lambda k: k.layers.RepeatVector(3),
        parity_shapes=((4,), (1,)),
    ),
    Row(
        "Rescaling",
        lambda: layers.Rescaling(0.2, offset=-1.5),
        shapes(),
        lambda k: k.layers.Rescaling(0.2, offset=-1.5),
    ),
    Row("ZeroPadding1D", layers.ZeroPadding1D, sequences, lambda k: k.layers.ZeroPadding1D(), **SEQUENCE),
    Row(
        "ZeroPadding1D(0, 2)",
        lambda: layers.ZeroPadding1D((0, 2), data_format="channels_last"),
        sequences,
        lambda k: k.layers.ZeroPadding1D((0, 2), data_format="channels_last"),
        **SEQUENCE,
    ),
    Row("ZeroPadding2D", layers.ZeroPadding2D, images, lambda k: k.layers.ZeroPadding2D(), **IMAGE),
    Row(
        "ZeroPadding2D(uneven)",
        lambda: layers.ZeroPadding2D(((0, 2), (1, 3))),
        images,
        lambda k: k.layers.ZeroPadding2D(((0, 2), (1, 3))),
        **IMAGE,
    ),
    Row(
        "ZeroPadding2D(1, 2)",
        lambda: layers.ZeroPadding2D((1, 2), data_format="channels_last"),
        images,
        lambda k: k.layers.ZeroPadding2D((1, 2), data_format="channels_last"),
        **IMAGE,
    ),
    Row("Cropping1D", layers.Cropping1D, at_least(3, 1), lambda k: k.layers.Cropping1D(), **SEQUENCE),
    Row(
        "Cropping1D(0, 2)",
        lambda: layers.Cropping1D((0, 2)),
        at_least(3, 1),
        lambda k: k.layers.Cropping1D((0, 2)),
        **SEQUENCE,
    ),
    Row("Cropping2D", layers.Cropping2D, images, lambda k: k.layers.Cropping2D(), **IMAGE),
    Row(
        "Cropping2D(uneven)",
        lambda: layers.Cropping2D(((2, 0), (1, 2))),
        at_least(3, 4, 1),
        lambda k: k.layers.Cropping2D(((2, 0), (1, 2))),
        **IMAGE,
    ),
    Row(
        "Cropping2D(1, 0)",
        lambda: layers.Cropping2D((1, 0)),
        at_least(3, 1, 1),
        lambda k: k.layers.Cropping2D((1, 0)),
        **IMAGE,
    ),
    Row("UpSampling1D", lambda: layers.UpSampling1D(3), sequences, lambda k: k.layers.UpSampling1D(3), **SEQUENCE),
    Row("UpSampling2D", layers.UpSampling2D, images, lambda k: k.layers.UpSampling2D(), **IMAGE),
    Row(
        "UpSampling2D(3, 1)",
        lambda: layers.UpSampling2D((3, 1), data_format="channels_last"),
        images,
        lambda k: k.layers.UpSampling2D((3, 1), data_format="channels_last"),
        **IMAGE,
    ),
]
