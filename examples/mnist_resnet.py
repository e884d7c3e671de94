"""A small residual network (He et al. 2016) on MNIST."""

import argparse

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D, Input, ReLU, Residual

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train[..., None].astype("float32") / 255
x_test = x_test[..., None].astype("float32") / 255


def conv(filters, size=3, strides=1):
    """Return a convolution that leaves its bias to the normalization after it."""
    return Conv2D(filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")


def block(filters, strides=1):
    """Return two convolutions with a way around them; where the shape changes, the way is a 1 x 1 convolution."""
    inside = [conv(filters, 3, strides), BatchNormalization(), ReLU(), conv(filters), BatchNormalization()]
    return [Residual(inside, projection=conv(filters, 1, strides) if strides > 1 else None), ReLU()]


model = tinynn.Sequential(
    [
        Input((28, 28, 1)),
        conv(16, 3, 2),  # 14 x 14
        BatchNormalization(),
        ReLU(),
        *block(16),
        *block(32, 2),  # 7 x 7
        *block(64, 2),  # 4 x 4
        GlobalAveragePooling2D(),
        Dense(10, activation="softmax"),
    ],
    device=args.device,
    seed=args.seed,
)
model.summary()
steps = args.epochs * -(-len(x_train) // args.batch_size)
warmup = steps // 4
rate = tinynn.CosineDecay(0.0002, steps - warmup, warmup_target=0.005, warmup_steps=warmup)
model.compile(
    optimizer=tinynn.AdamW(rate, weight_decay=0.02),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x_train, y_train, epochs=args.epochs, batch_size=args.batch_size)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
