"""A vision transformer on MNIST: each digit is cut into 49 patches, which look at one another."""

import argparse

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import (
    Conv2D,
    Dense,
    GlobalAveragePooling1D,
    Input,
    LayerNormalization,
    PositionEmbedding,
    Reshape,
    TransformerBlock,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--patch", type=int, default=4, help="height and width of a patch")
parser.add_argument("--dim", type=int, default=64)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train[..., None].astype("float32") / 255  # (60000, 28, 28, 1)
x_test = x_test[..., None].astype("float32") / 255

model = tinynn.Sequential(
    [
        Input((28, 28, 1)),
        Conv2D(args.dim, args.patch, strides=args.patch),  # one vector a patch
        Reshape((-1, args.dim)),
        PositionEmbedding((28 // args.patch) ** 2),
        TransformerBlock(args.dim, num_heads=4, intermediate_dim=2 * args.dim),
        TransformerBlock(args.dim, num_heads=4, intermediate_dim=2 * args.dim),
        LayerNormalization(),
        GlobalAveragePooling1D(),
        Dense(10, activation="softmax"),
    ],
    device=args.device,
    seed=args.seed,
)
model.summary()
rate = tinynn.CosineDecay(0.0, args.epochs * len(x_train) // args.batch_size, warmup_target=0.003, warmup_steps=200)
model.compile(tinynn.AdamW(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=args.epochs, batch_size=args.batch_size)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
