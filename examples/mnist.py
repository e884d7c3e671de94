"""The article's network: 784 relu -> 10 softmax, Adam, cross-entropy, on MNIST."""

import argparse

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import Dense, Input

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--hidden", type=int, default=784)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train.reshape(60000, 784).astype("float32") / 255
x_test = x_test.reshape(10000, 784).astype("float32") / 255
y_train = tinynn.to_categorical(y_train, 10)
y_test = tinynn.to_categorical(y_test, 10)

model = tinynn.Sequential(
    [Input((784,)), Dense(args.hidden, activation="relu"), Dense(10, activation="softmax")],
    device=args.device,
    seed=args.seed,
)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=args.epochs, batch_size=args.batch_size)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
