"""The convolutional network of mnist_cnn.py on digits that are turned, stretched and moved anew in every epoch."""

import argparse

import numpy as np

import tinynn
from tinynn.data import Dataset
from tinynn.data.augmentation import RandomAffine, RandomRotation, RandomTranslation, RandomZoom
from tinynn.datasets import mnist
from tinynn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, ReLU

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train, x_test = x_train[..., None], x_test[..., None]  # (60000, 28, 28, 1) bytes: one channel


def scale(x, y):
    """Return bytes as numbers from 0 to 1."""
    return x / np.float32(255), y


augment = RandomAffine(RandomRotation(0.03), RandomZoom(0.1), RandomTranslation(0.08, 0.08), fill_mode="constant")
training = Dataset.from_arrays(x_train, y_train).shuffle(seed=args.seed).batch(args.batch_size)
training = training.map(augment, seed=args.seed).map(scale).prefetch(2)

model = tinynn.Sequential(
    [
        Input((28, 28, 1)),
        Conv2D(16, 5, use_bias=False),
        BatchNormalization(),
        ReLU(),
        MaxPooling2D(2),
        Conv2D(32, 5, use_bias=False),
        BatchNormalization(),
        ReLU(),
        MaxPooling2D(2),
        Flatten(),
        Dense(128, activation="relu"),
        Dropout(0.4),
        Dense(10, activation="softmax"),
    ],
    device=args.device,
    seed=args.seed,
)
optimizer = tinynn.Adam(tinynn.CosineDecay(0.002, args.epochs * len(training)))
model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
test = scale(x_test, y_test)
model.fit(training, epochs=args.epochs, validation_data=test)

loss, accuracy = model.evaluate(*test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
