"""Pictures of the article's network on MNIST: its curves, its mistakes, its weights."""

import argparse
from pathlib import Path

import tinynn
from tinynn import plots
from tinynn.datasets import mnist
from tinynn.layers import Dense, Input

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--to", type=Path, default=Path("pictures"), help="the folder for the pictures")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

# What would stop the drawing should stop us before the training.
plots.need_matplotlib()
args.to.mkdir(parents=True, exist_ok=True)

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train.reshape(60000, 784).astype("float32") / 255
x_test = x_test.reshape(10000, 784).astype("float32") / 255
y_train = tinynn.to_categorical(y_train, 10)
y_test = tinynn.to_categorical(y_test, 10)

model = tinynn.Sequential(
    [Input((784,)), Dense(784, activation="relu"), Dense(10, activation="softmax")],
    device=args.device,
    seed=args.seed,
)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
# The test data are only watched here. To choose anything by them, hold out training data with validation_split.
history = model.fit(x_train, y_train, epochs=args.epochs, batch_size=128, validation_data=(x_test, y_test))

y_pred = model.predict(x_test)
plots.history(history, args.to / "history.png")
plots.confusion_matrix(y_test, y_pred, args.to / "confusion.png")
plots.mistakes(x_test, y_test, y_pred, args.to / "mistakes.png")
plots.weights(model.layers[0].W, args.to / "weights.png")
for name in ("history.png", "confusion.png", "mistakes.png", "weights.png"):
    print(args.to / name)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
