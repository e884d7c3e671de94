"""A convolutional network in the manner of LeNet, with batch normalization and dropout, on MNIST."""

import argparse

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, ReLU

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train[..., None].astype("float32") / 255  # (60000, 28, 28, 1): one channel
x_test = x_test[..., None].astype("float32") / 255

model = tinynn.Sequential(
    [
        Input((28, 28, 1)),
        Conv2D(16, 5, use_bias=False),  # 24 x 24
        BatchNormalization(),
        ReLU(),
        MaxPooling2D(2),  # 12 x 12
        Conv2D(32, 5, use_bias=False),  # 8 x 8
        BatchNormalization(),
        ReLU(),
        MaxPooling2D(2),  # 4 x 4
        Flatten(),
        Dropout(0.25),
        Dense(128, activation="relu"),
        Dropout(0.4),
        Dense(10, activation="softmax"),
    ],
    device=args.device,
    seed=args.seed,
)
model.summary()
steps = args.epochs * -(-len(x_train) // args.batch_size)
model.compile(
    optimizer=tinynn.Adam(tinynn.CosineDecay(0.002, steps)),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x_train, y_train, epochs=args.epochs, batch_size=args.batch_size)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
