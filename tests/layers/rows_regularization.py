"""Rows: the layers that are random in training, in training and at inference; the penalty on activities."""

from __future__ import annotations

from tests.layers.row import Row, shapes
from tinynn.layers import regularization as layers
from tinynn.layers.activity import ActivityRegularization

RANDOM = "random numbers cannot agree; the row at inference is compared, and the statistics are tested"

IN_TRAINING = {
    "Dropout(0)": (lambda: layers.Dropout(0), shapes(), (4,)),
    "Dropout(0.5)": (lambda: layers.Dropout(0.5), shapes(), (4,)),
    "Dropout(1)": (lambda: layers.Dropout(1), shapes(), (4,)),
    "Dropout(noise_shape)": (lambda: layers.Dropout(0.3, noise_shape=(None, 1, None)), shapes(2, 2), (3, 4)),
    "Dropout(one for the batch)": (lambda: layers.Dropout(0.3, noise_shape=(1, None)), shapes(1, 1), (4,)),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5), shapes(2, 2), (3, 4)),
    "SpatialDropout2D": (lambda: layers.SpatialDropout2D(0.5), shapes(3, 3), (2, 3, 4)),
    "AlphaDropout(0)": (lambda: layers.AlphaDropout(0.0), shapes(), (4,)),
    "AlphaDropout(0.3)": (lambda: layers.AlphaDropout(0.3), shapes(), (4,)),
    "AlphaDropout(noise_shape)": (lambda: layers.AlphaDropout(0.3, (None, None, 1)), shapes(2, 2), (3, 4)),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.4), shapes(), (4,)),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.4), shapes(), (4,)),
}

ROWS = [
    Row(f"{name} in training", make, shape, None, example=example, training=True, one_by_one=False, unlike_keras=RANDOM)
    for name, (make, shape, example) in IN_TRAINING.items()
] + [
    Row("Dropout", lambda: layers.Dropout(0.5), shapes(), lambda k: k.layers.Dropout(0.5)),
    Row(
        "SpatialDropout1D",
        lambda: layers.SpatialDropout1D(0.5),
        shapes(2, 2),
        lambda k: k.layers.SpatialDropout1D(0.5),
        example=(3, 4),
        parity_shapes=((3, 5), (1, 1)),
    ),
    Row(
        "SpatialDropout2D",
        lambda: layers.SpatialDropout2D(0.5),
        shapes(3, 3),
        lambda k: k.layers.SpatialDropout2D(0.5),
        example=(2, 3, 4),
        parity_shapes=((2, 3, 4),),
    ),
    Row("AlphaDropout", lambda: layers.AlphaDropout(0.5), shapes(), lambda k: k.layers.AlphaDropout(0.5)),
    Row("GaussianNoise", lambda: layers.GaussianNoise(0.5), shapes(), lambda k: k.layers.GaussianNoise(0.5)),
    Row("GaussianDropout", lambda: layers.GaussianDropout(0.5), shapes(), lambda k: k.layers.GaussianDropout(0.5)),
    Row("ActivityRegularization", ActivityRegularization, shapes(), lambda k: k.layers.ActivityRegularization()),
    *(
        Row(
            f"ActivityRegularization({l1}, {l2})",
            lambda l1=l1, l2=l2: ActivityRegularization(l1, l2),
            shapes(),
            lambda k, l1=l1, l2=l2: k.layers.ActivityRegularization(l1, l2),
            kinks=(0.0,) if l1 else (),
            parity_shapes=((4,), (3, 5), (1, 2, 3)),
            one_by_one=False,  # the penalty is divided by the size of the batch
        )
        for l1, l2 in ((0.3, 0.0), (0.0, 0.2), (0.1, 0.4))
    ),
]
