"""The 2-layer network: A1 = tanh(X W1 + b1), A2 = sigmoid(A1 W2 + b2), trained with binary cross-entropy on MNIST.

First as a two-class problem with one output (is it a five or not?), then with one output for each digit.
"""

import argparse

import tinynn
from tinynn.datasets import mnist
from tinynn.layers import Dense, Input

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--hidden", type=int, default=128, help="hidden units (default: %(default)s)")
parser.add_argument("--learning-rate", type=float, default=0.001, help="step size (default: %(default)s)")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--digit", type=int, default=5, choices=range(10), help="the digit of the two-class problem")
parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train.reshape(60000, 784).astype("float32") / 255
x_test = x_test.reshape(10000, 784).astype("float32") / 255


def train_and_test(outputs, targets_train, targets_test):
    """Train the network with this many sigmoid outputs and return its loss and accuracy on the test set."""
    model = tinynn.Sequential(
        [Input((784,)), Dense(args.hidden, activation="tanh"), Dense(outputs, activation="sigmoid")],
        device=args.device,
        seed=args.seed,
    )
    optimizer = tinynn.Adam(args.learning_rate)
    model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(x_train, targets_train, epochs=args.epochs, batch_size=args.batch_size)
    return model.evaluate(x_test, targets_test)


print(f"Two classes: {args.digit} or not")
loss, accuracy = train_and_test(1, (y_train == args.digit)[:, None], (y_test == args.digit)[:, None])
print(f"two-class test accuracy {accuracy:.4f} - test loss {loss:.4f}")

print("Ten digits")
loss, accuracy = train_and_test(10, tinynn.to_categorical(y_train, 10), tinynn.to_categorical(y_test, 10))
print(f"test accuracy {accuracy:.4f} - test loss {loss:.4f}")
