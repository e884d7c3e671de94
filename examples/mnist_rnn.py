"""A recurrent network that reads each digit of MNIST row by row, from the top to the bottom."""

import argparse

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import GRU, Dense, Input

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--hidden", type=int, default=128)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train.astype("float32") / 255  # (60000, 28, 28): 28 steps of 28 numbers
x_test = x_test.astype("float32") / 255

model = tinynn.Sequential(
    [Input((28, 28)), GRU(args.hidden), Dense(10, activation="softmax")], device=args.device, seed=args.seed
)
model.summary()
model.compile(optimizer=tinynn.Adam(0.003), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=args.epochs, batch_size=args.batch_size)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
