"""``tinynn train DATASET``: make a network, train it, test it, save it."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

import tinynn
from tinynn import losses, optimizers
from tinynn.callbacks import Callback, CSVLogger, EarlyStopping, History
from tinynn.cli import dataset, models, network
from tinynn.cli.dataset import Samples
from tinynn.cli.mistakes import Mistake, told
from tinynn.cli.options import add_command, add_device, add_limit, number_between, whole
from tinynn.cli.output import note, notes_of_checkpoints, print_json, show_scores, versions

EXAMPLES = """\
examples:
  tinynn train mnist
  tinynn train mnist --layers 784:relu,10:softmax --epochs 5 --save model.tinynn
  tinynn train mnist --layers conv16x3:relu,pool2,10:softmax --limit 5000

The first two are one network; it tells about 98 % of the test digits right.
Ctrl-C ends the training after the batch at hand: the network is tested and
saved all the same. With --checkpoint-dir a training that is killed goes on
where it stood, as if it had not been stopped: give the same command, with
--resume."""


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    help = "train a network on a data set, test it, save it"
    train = add_command(commands, "train", help, "\n\n".join([dataset.HELP, network.HELP, EXAMPLES]))
    train.add_argument("dataset", metavar="DATASET", help="mnist, a folder of IDX files, or a .npz file; see below")
    train.add_argument(
        "--layers",
        default="784:relu,10:softmax",
        metavar="LIST",
        help="the network; see below (default: %(default)s, hidden units and outputs)",
    )
    train.add_argument("--epochs", type=whole(1), default=5, metavar="N", help="default: %(default)s")
    train.add_argument("--batch-size", type=whole(1), default=128, metavar="N", help="default: %(default)s")
    train.add_argument(
        "--optimizer", default="adam", metavar="NAME", help=f"{', '.join(optimizers.OPTIMIZERS)} (default: adam)"
    )
    train.add_argument("--learning-rate", type=number_between(0), metavar="RATE", help="default: the optimizer's own")
    train.add_argument(
        "--loss",
        metavar="NAME",
        help="default: by the last activation: cross-entropy after softmax and sigmoid, else mean_squared_error",
    )
    train.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="of the initial weights, the shuffling and all else that is drawn (default: 0)",
    )
    add_device(train)
    train.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s")
    train.add_argument(
        "--validation-split",
        type=number_between(0, 1),
        metavar="PART",
        help="hold out this part of the training samples, and show the loss on it after each epoch",
    )
    train.add_argument(
        "--early-stopping",
        type=whole(1),
        metavar="N",
        help="stop after N epochs without a better val_loss, and keep the best weights; needs --validation-split",
    )
    add_limit(train)
    train.add_argument("--save", metavar="FILE", help="write the trained model there, by custom NAME.tinynn")
    train.add_argument("--log", metavar="FILE.csv", help="write loss and metrics of every epoch there")
    train.add_argument(
        "--checkpoint-dir",
        metavar="DIR",
        help="keep the training's state in this folder, for --resume; made if not there",
    )
    train.add_argument(
        "--checkpoint-freq",
        type=whole(1),
        metavar="N",
        help="make a checkpoint every N batches (default: after every epoch)",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest whole checkpoint in DIR, with the other options as they were; --epochs may be more",
    )
    train.add_argument("--quiet", action="store_true", help="print the test's result only")
    train.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")
    train.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; 0 if it went to its end, 1 if it diverged, 130 if Ctrl-C ended it early."""
    if options.early_stopping is not None and options.validation_split is None:
        raise Mistake("--early-stopping needs --validation-split, such as 0.1: samples that tell when to stop.")
    if options.checkpoint_dir is None and (options.resume or options.checkpoint_freq is not None):
        raise Mistake("--resume and --checkpoint-freq need --checkpoint-dir, a folder for checkpoints.")
    for option, path in (("--save", options.save), ("--log", options.log)):
        if path is not None:
            models.need_place(path, option)
    training = dataset.load(options.dataset, "train", options.limit)
    test = dataset.load(options.dataset, "test", options.limit)
    model = make_model(options, training)
    begun = time.perf_counter()
    try:
        history = fit(model, options, training)
    except FloatingPointError as error:
        print(f"tinynn train: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - begun
    if history.interrupted:
        note("train", "Ctrl-C: the network is tested" + (" and saved" if options.save else "") + " as it is now")
    scores = models.score(model, test)
    if options.save is not None:
        models.save(model, options.save)
    report(model, options, history, scores, len(test.x), seconds)
    return 130 if history.interrupted else 0


def make_model(options: argparse.Namespace, training: Samples) -> tinynn.Sequential:
    """Return the network that was asked for, compiled."""
    x, y = training
    shape = tuple(x.shape[1:])
    scaling = [tinynn.Rescaling(1 / 255)] if x.dtype == "uint8" else []
    made = network.read_layers(options.layers, shape)
    with told(ValueError, RuntimeError):
        model = tinynn.Sequential(
            [tinynn.Input(shape), *scaling, *made], device=options.device, seed=options.seed, dtype=options.dtype
        )
    with told(ValueError, MemoryError, before="--layers: "):
        model.build()
    need_outputs(options.layers, model, y)
    with told(ValueError, before="--loss: "):
        loss = losses.get(options.loss or loss_for(model, y))
    with told(ValueError, before="--optimizer: "):
        optimizer = optimizers.get(options.optimizer)
    if options.learning_rate is not None:
        optimizer = type(optimizer)(learning_rate=options.learning_rate)
    with told(ValueError):
        model.compile(optimizer, loss, metrics=["accuracy" if classifies(model, y) else "mean_absolute_error"])
    return model


def classifies(model: tinynn.Sequential, y: Any) -> bool:
    """Return whether the model tells classes apart: by its last activation, or by its targets."""
    sure = isinstance(model.last_activation, tinynn.Softmax | tinynn.Sigmoid)
    return sure or (dataset.is_class_numbers(y) and model.output_shape != (1,))


def loss_for(model: tinynn.Sequential, y: Any) -> str:
    """Return the loss that belongs to the last activation."""
    if isinstance(model.last_activation, tinynn.Softmax):
        return "sparse_categorical_crossentropy" if dataset.is_class_numbers(y) else "categorical_crossentropy"
    return "binary_crossentropy" if isinstance(model.last_activation, tinynn.Sigmoid) else "mean_squared_error"


def need_outputs(text: str, model: tinynn.Sequential, y: Any) -> None:
    """Raise Mistake unless the network has an output for every class, or for every number of a target."""
    word = network.last_word(text)
    assert model.output_shape is not None
    if len(model.output_shape) != 1:
        raise word.fault("the network ends in images; end it with a dense layer, such as 10:softmax.")
    [outputs] = model.output_shape
    if outputs == 1 and isinstance(model.last_activation, tinynn.Softmax):
        raise word.fault("softmax of one unit is always 1; write 1:sigmoid for two classes.")
    if dataset.is_class_numbers(y) and classifies(model, y):
        if y.min() < 0:
            raise Mistake(f"the labels must be class numbers from 0 up, got {y.min()}.")
        highest = int(y.max())
        if highest >= max(outputs, 2):
            raise word.fault(
                f"the labels go from 0 to {highest}, so the last layer needs {highest + 1} units or more, such as "
                f"{highest + 1}:softmax; it has {outputs}."
            )
        return
    wanted = math.prod(y.shape[1:])
    if wanted != outputs:
        raise word.fault(f"a target has {wanted} numbers, so the last layer needs {wanted} units; it has {outputs}.")


def fit(model: tinynn.Sequential, options: argparse.Namespace, training: Samples) -> History:
    """Train as the options say."""
    callbacks: list[Callback] = []
    if options.early_stopping is not None:
        callbacks.append(EarlyStopping(patience=options.early_stopping, restore_best_weights=True))
    if options.log is not None:
        callbacks.append(CSVLogger(options.log))
    with told(ValueError, OSError, MemoryError, without="fit: "), notes_of_checkpoints("train"):
        if options.checkpoint_dir is not None and not options.resume:
            models.need_no_checkpoints(options.checkpoint_dir)
        return model.fit(
            training.x,
            models.targets(model, training.y),
            batch_size=options.batch_size,
            epochs=options.epochs,
            verbose=0 if options.quiet or options.json else "auto",
            callbacks=callbacks,
            validation_split=options.validation_split or 0.0,
            checkpoint_dir=options.checkpoint_dir,
            checkpoint_freq=options.checkpoint_freq or "epoch",
            resume=options.resume,
        )


def report(
    model: tinynn.Sequential,
    options: argparse.Namespace,
    history: History,
    scores: dict[str, float],
    samples: int,
    seconds: float,
) -> None:
    """Print what came of it."""
    if options.json:
        print_json(
            {
                "dataset": options.dataset,
                "layers": options.layers,
                "parameters": model.count_params(),
                "epochs": len(history.epoch),
                "interrupted": history.interrupted,
                "history": history.history,
                "test": scores,
                "seconds": seconds,
                "seed": model.seed,
                "dtype": model.dtype,
                "device": model.device.name,
                "saved": options.save,
                "versions": versions(),
            }
        )
        return
    print(show_scores(scores, samples))
    if options.save is not None:
        print(f"saved {options.save}" + (" as Ctrl-C left it" if history.interrupted else ""))
