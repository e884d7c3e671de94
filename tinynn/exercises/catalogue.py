"""Which exercises there are, in the order in which they build on each other."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Piece:
    """A class that the student gets.

    Attributes
    ----------
    origin : str
        Where it stands: ``"tinynn.layers.dense:Dense"``.
    blank : tuple of str
        The methods whose bodies the student writes.
    """

    origin: str
    blank: tuple[str, ...] = ("backward",)

    @property
    def kind(self) -> Any:
        """The class itself."""
        module, _, name = self.origin.partition(":")
        return getattr(importlib.import_module(module), name)

    @property
    def name(self) -> str:
        """The class's name."""
        return self.origin.partition(":")[2]


@dataclass(frozen=True)
class Trial:
    """One check of the student's file.

    Attributes
    ----------
    make : str
        What is checked: ``"Dense(3, activation='tanh')"``.
    input : str
        The shape of the input, the batch axis first.
    training : bool
    arguments : tuple of str
        Shapes of a forward function's other arguments, ``"W=5,3"``.
    """

    make: str
    input: str
    training: bool = False
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """An input where there is no derivative, and the library's own gradient is the convention.

    Attributes
    ----------
    make : str
    twin : str
        The library's layer: ``"tinynn.layers:ReLU"``.
    x : list
    said : str
        What the convention is.
    """

    make: str
    twin: str
    x: Any
    said: str


@dataclass(frozen=True)
class Bug:
    """One wrong line.

    Attributes
    ----------
    method : str
        ``"Dense.backward"``.
    right, wrong : str
        The library's line, without its comment, and what stands there instead.
    """

    method: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
    ----------
    name : str
        ``"dense"``.
    title : str
    teaches : str
        What there is to understand.
    pieces : tuple of Piece
    trials : tuple of Trial
        None for optimizers.
    edges : tuple of Edge
    bug : Bug or None
        What is wrong, in a "find the bug" exercise.
    made : str
        What the student writes, in an exercise that a teacher made: ``"MyDense.backward"``.
    """

    name: str
    title: str
    teaches: str
    pieces: tuple[Piece, ...]
    trials: tuple[Trial, ...] = ()
    edges: tuple[Edge, ...] = ()
    bug: Bug | None = None
    made: str = ""

    @property
    def file(self) -> str:
        """The name of the student's file."""
        return self.name.replace("-", "_") + ".py"

    @property
    def is_optimizer(self) -> bool:
        """Whether it is about a step and not about a gradient."""
        return any("update" in piece.blank for piece in self.pieces)

    @property
    def blanks(self) -> tuple[str, ...]:
        """What the student writes: ``"Dense.backward"``; in a "find the bug" exercise, where it is."""
        if self.made:
            return (self.made,)
        if self.bug is not None:
            return (self.bug.method,)
        return tuple(f"{piece.name}.{method}" for piece in self.pieces for method in piece.blank)


ACTIVATIONS, LAYERS, OWN = "tinynn.layers.activations", "tinynn.layers", "tinynn.exercises.sources"

WRITE = (
    Exercise(
        "perceptron",
        "One neuron",
        "The chain rule, one forward line at a time from the last to the first.",
        (Piece(f"{OWN}.perceptron:Perceptron"),),
        (Trial("Perceptron", "4,5"),),
    ),
    Exercise(
        "tanh-sigmoid",
        "Tanh, sigmoid, and the network of two layers",
        "The derivative of an activation written with its output; then two layers in a row.",
        (
            Piece(f"{ACTIVATIONS}:Tanh"),
            Piece(f"{ACTIVATIONS}:Sigmoid"),
            Piece(f"{OWN}.network:TwoLayerNetwork"),
        ),
        (Trial("Tanh", "4,5"), Trial("Sigmoid", "4,5"), Trial("TwoLayerNetwork(3)", "4,5")),
    ),
    Exercise(
        "dense",
        "The fully connected layer",
        "The gradient of a matrix product: which factor is transposed, and on which side it stands.",
        (Piece(f"{LAYERS}.dense:Dense"),),
        (Trial("Dense(3, activation='tanh')", "4,5"), Trial("Dense(3, use_bias=False)", "2,4,5")),
    ),
    Exercise(
        "softmax",
        "Softmax",
        "Every output depends on every input: a whole Jacobian, and how to multiply by it without writing it down.",
        (Piece(f"{ACTIVATIONS}:Softmax"),),
        (Trial("Softmax", "4,5"), Trial("Softmax(axis=1)", "3,4,2")),
    ),
    Exercise(
        "cross-entropy",
        "Cross-entropy, fused with softmax and not",
        "Why the gradient by the logits is q - t; and what it is by probabilities.",
        (Piece("tinynn.losses.crossentropy:CategoricalCrossentropy", ("gradient",)),),
        (Trial("CategoricalCrossentropy(from_logits=True)", "4,5"), Trial("CategoricalCrossentropy", "4,5")),
    ),
    Exercise(
        "relu",
        "ReLU at its kink",
        "A mask; and which derivative to take where there is none.",
        (Piece(f"{OWN}.relu:ReLU"), Piece(f"{LAYERS}.rectifiers:LeakyReLU")),
        (Trial("ReLU", "4,5"), Trial("LeakyReLU(0.3)", "4,5")),
        (
            Edge("ReLU", f"{LAYERS}:ReLU", [[-1.0, 0.0, 2.0]], "at x = 0 the derivative of ReLU is taken to be 0"),
            Edge("LeakyReLU", f"{LAYERS}:LeakyReLU", [[-1.0, 0.0, 2.0]], "at x = 0 that of LeakyReLU is taken to be 1"),
        ),
    ),
    Exercise(
        "mini-batch",
        "Mini-batch and broadcasting",
        "What is stretched over the samples forward is summed over them backward.",
        (Piece(f"{OWN}.minibatch:CenterAndScale"),),
        (Trial("CenterAndScale", "4,3"), Trial("CenterAndScale", "1,3")),
    ),
    Exercise(
        "momentum-adam",
        "Momentum and Adam",
        "What is done with the gradient: a step with a memory, and one with a size of its own in every direction.",
        (Piece(f"{OWN}.optimizers:Momentum", ("update",)), Piece(f"{OWN}.optimizers:Adam", ("update",))),
    ),
    Exercise(
        "dropout",
        "Dropout",
        "The mask that forward drew is the one that backward needs.",
        (Piece(f"{LAYERS}.regularization:Dropout"),),
        (Trial("Dropout(0.4)", "4,5", True), Trial("Dropout(0.4)", "4,5")),
    ),
    Exercise(
        "batch-normalization",
        "Batch normalization",
        "x goes three ways: by itself, through the mean, and through the variance.",
        (Piece(f"{LAYERS}.normalization:BatchNormalization"),),
        (Trial("BatchNormalization", "5,3", True), Trial("BatchNormalization", "5,3")),
    ),
    Exercise(
        "convolution",
        "Convolution",
        "Windows in rows make it a matrix product; a number that several windows saw adds up what came back from each.",
        (Piece(f"{LAYERS}.convolution:Convolution"), Piece(f"{LAYERS}.convolution:Conv2D", ())),
        (
            Trial("Conv2D(2, 3, activation='tanh')", "2,4,5,3"),
            Trial("Conv2D(2, 2, strides=2, padding='same', groups=2)", "2,3,5,4"),
        ),
    ),
    Exercise(
        "max-pooling",
        "Max-pooling and its ties",
        "The gradient goes where the maximum came from; when two are equal, to the first.",
        (Piece(f"{LAYERS}.pooling:MaxPooling"), Piece(f"{LAYERS}.pooling:MaxPooling2D", ())),
        (Trial("MaxPooling2D(2)", "2,4,6,3"), Trial("MaxPooling2D(3, strides=2, padding='same')", "2,4,5,2")),
        (
            Edge(
                "MaxPooling2D(2)",
                f"{LAYERS}:MaxPooling2D",
                [[[[1.0], [3.0], [2.0], [2.0]], [[3.0], [3.0], [2.0], [2.0]]]],
                "of several equal maxima in a window the first gets all of dy, the others nothing",
            ),
        ),
    ),
    Exercise(
        "lstm-step",
        "One step of an LSTM",
        "Gates: every product has two gradients, and the memory goes two ways.",
        (Piece(f"{OWN}.lstm_step:LSTMStep"),),
        (Trial("LSTMStep(2)", "3,7"),),
    ),
    Exercise(
        "attention",
        "Attention",
        "Softmax between two products; x goes three ways.",
        (Piece(f"{OWN}.attention:SelfAttention"),),
        (Trial("SelfAttention(3)", "2,4,5"),),
    ),
)

BUGS = (
    Exercise(
        "bug-tanh",
        "Find the bug: an activation",
        "The network trains, only badly. One line of backward is wrong.",
        (Piece(f"{ACTIVATIONS}:Tanh"),),
        (Trial("Tanh", "4,5"),),
        bug=Bug("Tanh.backward", "dx = dy * (1 - y * y)", "dx = dy * (1 - y)"),
    ),
    Exercise(
        "bug-dense",
        "Find the bug: the fully connected layer",
        "With batches of one sample it was right. One line of backward is wrong.",
        (Piece(f"{LAYERS}.dense:Dense"),),
        (Trial("Dense(3, activation='tanh')", "4,5"),),
        bug=Bug("Dense.backward", "db = da2.sum(axis=0, out=self.db)", "db = da2.mean(axis=0, out=self.db)"),
    ),
    Exercise(
        "bug-softmax",
        "Find the bug: softmax",
        "A check with an upstream gradient of ones would pass. One line of backward is wrong.",
        (Piece(f"{ACTIVATIONS}:Softmax"),),
        (Trial("Softmax", "4,5"),),
        bug=Bug("Softmax.backward", "dx = y * (dy - c)", "dx = y * (1 - y) * dy"),
    ),
    Exercise(
        "bug-leaky-relu",
        "Find the bug: a rectifier",
        "One line of backward is wrong.",
        (Piece(f"{LAYERS}.rectifiers:LeakyReLU"),),
        (Trial("LeakyReLU(0.3)", "4,5"),),
        bug=Bug("LeakyReLU.backward", "dx = dp * (x >= 0) + dn * (x < 0)", "dx = dp * (x < 0) + dn * (x >= 0)"),
    ),
    Exercise(
        "bug-batch-normalization",
        "Find the bug: batch normalization",
        "The most popular mistake of all in this layer. One line of backward is wrong.",
        (Piece(f"{LAYERS}.normalization:BatchNormalization"),),
        (Trial("BatchNormalization", "5,3", True),),
        bug=Bug("BatchNormalization.backward", "dx2 = dxc + dmean / N", "dx2 = dxc"),
    ),
    Exercise(
        "bug-convolution",
        "Find the bug: convolution",
        "Without an activation it was right. One line of backward is wrong.",
        (Piece(f"{LAYERS}.convolution:Convolution"), Piece(f"{LAYERS}.convolution:Conv2D", ())),
        (Trial("Conv2D(2, 3, activation='tanh')", "2,4,5,3"),),
        bug=Bug("Convolution.backward", "da = self.activation.backward(dy)", "da = dy"),
    ),
    Exercise(
        "bug-lstm",
        "Find the bug: the LSTM",
        "Sequences of one step are learned well. One line of run_backward is wrong.",
        (Piece(f"{LAYERS}.lstm:LSTM", ("run_backward",)),),
        (Trial("LSTM(2, return_sequences=True)", "2,3,2"),),
        bug=Bug("LSTM.run_backward", "dc_f = dc_new * f", "dc_f = dc_new * i"),
    ),
    Exercise(
        "bug-attention",
        "Find the bug: attention",
        "One line of backward is wrong.",
        (Piece(f"{LAYERS}.attention:MultiHeadAttention"),),
        (Trial("MultiHeadAttention(2, 2)", "2,3,3"),),
        bug=Bug(
            "MultiHeadAttention.attend_backward",
            "dqs = matmul(ds, kr)",
            "dqs = matmul(ds.transpose(0, 1, 3, 2), kr)",
        ),
    ),
)

EXERCISES = WRITE + BUGS


class UnknownExercise(ValueError):
    """There is no exercise of this name."""


def get(name: str) -> Exercise:
    """Return an exercise.

    Examples
    --------
    >>> get("dense").title
    'The fully connected layer'
    """
    import difflib

    names = [exercise.name for exercise in EXERCISES]
    if name in names:
        return EXERCISES[names.index(name)]
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UnknownExercise(f"there is no exercise {name!r}. {hint}See: tinynn exercise list")
