"""Graph: a training step on a CUDA device that is captured once and then replayed, all its kernels in one launch.

A small network's kernels are done before Python has launched the next one. A captured step has no Python in it: the
device goes from kernel to kernel by itself. What is recorded are launches with fixed arguments on fixed memory, so

- the data, the order of the samples and the place in it are on the device, and the step gathers its batch by itself;
- the numbers that change from step to step (`Optimizer.numbers`) stand in arrays there, which one small launch
  writes before the replay;
- losses and the sums of metrics go to arrays that are read when somebody asks;
- what the host decides from step to step (the size of the batch, what of the optimizer's step is due) chooses between
  graphs: the smaller last batch has one of its own.

The first step of each kind is a rehearsal, done as always but with the numbers on the device; kernels are compiled in
it. The second is captured. What a capture cannot hold CuPy refuses, and what it would freeze is found by comparing the
layers before and after; then the training goes on without, and `Trainer.graph_reason` says why.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from tinynn.backend import Array
from tinynn.capture import SET_ANEW, CannotCapture, Frozen, capture, pool_of_graphs
from tinynn.data.samples import Samples
from tinynn.data.sources import ArraySource, Order, Source
from tinynn.kernels.cuda import cublaslt
from tinynn.kernels.cuda.steps import gather, note_loss, write_numbers
from tinynn.optimizers import LossScaleOptimizer
from tinynn.optimizers.base import Ahead, Due
from tinynn.scores import Recorder, Scores

if TYPE_CHECKING:
    from tinynn.compiled import TrainedParts
    from tinynn.run import Run

MOST_LOSSES = 2**16  # steps after which the losses are read, if nobody asks before
MOST_GRAPHS = 32  # batches of ever new shapes are not all captured


class Place(NamedTuple):
    """A batch that the device gathers itself: which part of the epoch's order it is."""

    start: int
    size: int


class EagerSteps:
    """The steps of an epoch, done one call after another.

    Parameters
    ----------
    run : Run
    parts : TrainedParts
    """

    def __init__(self, run: Run, parts: TrainedParts) -> None:
        self.run, self.parts = run, parts

    def batches(self, first: int, order: Order | None) -> Iterator[Any]:
        """Yield the batches of the run's epoch from a number on."""
        yield from self.run.source.batches(self.run.epoch, first, order)

    def step(self, batch: Samples, scores: Scores, where: str) -> None:
        """Do one step."""
        model = self.run.model
        x, y, sample_weight = model.cast_batch(batch)
        train_step = model.checked_train_step if self.run.check_finite else model.train_step
        train_step(self.parts, x, y, scores, where, sample_weight)


class Recorded(NamedTuple):
    """One kind of step: its graph, and what the host has to do beside it."""

    graph: Any
    recorder: Recorder


class CapturedSteps:
    """The training steps of a model on its data, captured.

    Parameters
    ----------
    run : Run
        Its source and its model's weights stay where they are as long as this is used: see `fits`.
    parts : TrainedParts

    Attributes
    ----------
    reason : str
        Why steps are no longer captured; empty while they are.
    graphs : dict
        What was captured, by the kind of step.
    inputs : dict
        Where the graphs find batches that are not gathered, by their shapes.
    """

    def __init__(self, run: Run, parts: TrainedParts) -> None:
        model = run.model
        self.arena = model.need_arena()
        self.xp = xp = self.arena.xp
        self.optimizer = parts.optimizer
        self.reason = ""
        self.graphs: dict[Any, Recorded] = {}
        self.inputs: dict[Any, list[Array]] = {}
        self.rehearsed: set[Any] = set()
        self.settings: list[Any] = []
        self.pool = pool_of_graphs(xp)
        forget = forgetting(self)
        self.data = [weakref.ref(array, forget) for array in arrays_of(run.source)]
        self.order = xp.zeros(run.source.count if isinstance(run.source, ArraySource) else 0, dtype="int64")
        self.place = xp.zeros(2, dtype="int64")  # samples taken from the order, losses written
        self.losses = xp.zeros(MOST_LOSSES, dtype=self.arena.values.dtype)
        self.make_numbers(1)
        self.watched = [inside.observers for inside in (model, *self.arena.layers) if hasattr(inside, "observers")]
        self.sums: dict[tuple[int, str], Array] = {}
        self.at = self.taken = self.noted = -1  # what `place` holds now, and which loss is the next; -1: not known
        self.begin(run, parts)

    def make_numbers(self, count: int) -> None:
        """Make place on the device for so many of the optimizer's numbers: the decay, and those of `step_numbers`."""
        self.numbers = self.xp.zeros(count, dtype=self.arena.values.dtype)
        self.views = [self.numbers[k : k + 1].reshape(()) for k in range(count)]
        self.written: tuple[float, ...] = ()

    def begin(self, run: Run, parts: TrainedParts) -> None:
        """Begin an epoch."""
        self.run, self.parts = run, parts
        self.at = -1  # a step that ended in an error may have moved the place on
        self.check_settings()

    def end(self) -> None:
        """Let go of the data, if a training with these steps has begun; the graphs stay for another with the same."""
        vars(self).pop("run", None)
        vars(self).pop("parts", None)

    def forget(self) -> None:
        """Drop what was captured, as where the data are gone, or a setting of a layer has changed."""
        self.graphs.clear()
        self.inputs.clear()
        self.rehearsed.clear()
        self.pool.free_all_blocks()

    def __del__(self) -> None:
        """Give the memory back, which a pool that goes does not."""
        with suppress(Exception):  # at the end of the process CuPy may be gone
            self.forget()

    def fits(self, run: Run, parts: TrainedParts) -> bool:
        """Whether a training goes on with these weights, this optimizer and these data, at the same addresses."""
        arrays = arrays_of(run.source)
        known = [reference() for reference in self.data]
        return (
            self.arena is run.model.need_arena()
            and self.optimizer is parts.optimizer
            and len(self.order) == (run.source.count if isinstance(run.source, ArraySource) else 0)
            and len(arrays) == len(known)
            and all(mine is theirs for mine, theirs in zip(known, arrays, strict=True))
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copied model captures its own steps."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle nothing: graphs are of this process."""
        return nothing, ()

    # Steps ---------------------------------------------------------------------------------------------------------

    def batches(self, first: int, order: Order | None) -> Iterator[Any]:
        """Yield the batches of the run's epoch from a number on, arrays' as places in an order on the device."""
        source = self.run.source
        if not isinstance(source, ArraySource):
            yield from source.batches(self.run.epoch, first, order)
            return
        rows = source.rows_in(order)
        self.order[...] = self.xp.arange(source.count) if rows is None else rows
        for start in range(first * source.batch_size, source.count, source.batch_size):
            yield Place(start, min(source.batch_size, source.count - start))

    def step(self, batch: Place | Samples, scores: Scores, where: str) -> None:
        """Do one step: rehearsed, captured or replayed."""
        if any(self.watched):
            EagerSteps(self.run, self.parts).step(self.rows(batch), scores, where)
            return
        if self.run.watchers.may_change_settings:
            self.check_settings()
        due = self.optimizer.next_due()
        kind = (batch.size, due) if isinstance(batch, Place) else (kind_of(batch), due)
        if not self.reason and kind not in self.graphs and kind in self.rehearsed and len(self.graphs) < MOST_GRAPHS:
            self.attach(scores)
            self.record(kind, batch, due, scores)
        if self.reason:
            EagerSteps(self.run, self.parts).step(self.rows(batch), scores, where)
            return
        counts = {name: vars(self.optimizer)[name] for name in COUNTS}
        self.prepare(kind[0], batch, due)
        self.attach(scores)
        recorded = self.graphs.get(kind)
        try:
            if recorded is None:
                self.work(kind[0], batch, due, Recorder(scores, self))
            else:
                recorded.graph.launch()
        except BaseException:  # a step that was not done does not count
            vars(self.optimizer).update(counts)
            raise
        if recorded is None:
            self.rehearsed.add(kind)
            self.settings = self.all_settings()  # with what a first step makes: the optimizer's memory, draws
        else:
            recorded.recorder.replayed(scores)
        self.note(batch, scores, where)

    def prepare(self, shape: Any, batch: Place | Samples, due: Due) -> None:
        """Count the optimizer's step, and write to the device what is new in this one."""
        optimizer = self.optimizer
        if optimizer.arena is None:
            optimizer.begin(self.arena)
        optimizer.need_own(self.arena)
        optimizer.advance()
        if not due.waits:
            numbers = (float(optimizer.decay), *map(float, optimizer.step_numbers()))
            if len(numbers) > len(self.views):
                self.forget()
                self.make_numbers(len(numbers))
            if numbers != self.written:
                write_numbers(self.xp, numbers, self.numbers)
                self.written = numbers
        if self.noted < 0:
            self.noted, self.at = 0, -1
        start = batch.start if isinstance(batch, Place) else max(self.at, 0)
        if self.at != start:
            write_numbers(self.xp, (start, self.noted), self.place)
            self.at = start
        if not isinstance(batch, Place) and shape in self.inputs:
            for mine, array in zip(self.inputs[shape], given(batch), strict=True):
                mine[...] = array

    def work(self, shape: Any, batch: Place | Samples, due: Due, recorder: Recorder) -> None:
        """Do what is captured: gather the batch, and train on it with the numbers that stand on the device."""
        count = 0 if due.waits else len(self.optimizer.step_numbers())
        self.optimizer.ahead = Ahead(due, self.views[0], tuple(self.views[1 : 1 + count]))
        try:
            x, y, sample_weight = self.run.model.cast_batch(self.gathered(shape, batch))
            self.run.model.train_step(self.parts, x, y, recorder, "", sample_weight)
        finally:
            del self.optimizer.ahead

    def gathered(self, shape: Any, batch: Place | Samples) -> Samples:
        """Return the batch in arrays that are the same at each replay."""
        if not isinstance(batch, Place):
            return Samples(*self.inputs[shape]) if shape in self.inputs else batch
        gathered = []
        for array in given(self.run.source.first):
            rows = self.xp.empty((batch.size, *array.shape[1:]), dtype=array.dtype)
            gather(self.xp, array, self.order, self.place, rows)
            gathered.append(rows)
        return Samples(*gathered)

    def note(self, batch: Place | Samples, scores: Scores, where: str) -> None:
        """Count the loss that the device has noted."""
        size = batch.size if isinstance(batch, Place) else len(batch.x)
        scores.add_loss(self.losses[self.noted : self.noted + 1].reshape(()), size, where)
        self.noted, self.at = self.noted + 1, self.at + size
        if self.noted == MOST_LOSSES:
            scores.read()
            self.noted = -1

    def add_loss(self, L: Array, size: int) -> None:
        """Note the loss on the device, as a part of the step."""
        note_loss(self.xp, L, size, self.losses, self.place)

    def rows(self, batch: Place | Samples) -> Samples:
        """Return a batch for an eager step."""
        if not isinstance(batch, Place):
            return batch
        return self.run.source.first.rows(self.order[batch.start : batch.start + batch.size])

    def attach(self, scores: Scores) -> None:
        """Let metrics count in the arrays that the graphs know, from where they stand."""
        metrics = scores.all_metrics
        for (index, name), mine in self.sums.items():
            value = getattr(metrics[index], name)
            if value is not mine:
                mine[...] = value
                setattr(metrics[index], name, mine)

    # Capturing ------------------------------------------------------------------------------------------------------

    def record(self, kind: Any, batch: Place | Samples, due: Due, scores: Scores) -> None:
        """Capture a kind of step, or note why it cannot be."""
        recorder = Recorder(scores, self, capturing=True)
        if not isinstance(batch, Place) and kind[0] not in self.inputs:
            self.inputs[kind[0]] = [array.copy() for array in given(batch)]
        frozen = Frozen(self.arena.layers)
        before = [dict(vars(metric)) for metric in scores.all_metrics]
        try:
            graph = capture(self.xp, self.pool, lambda: self.work(kind[0], batch, due, recorder))
            frozen.check()
            self.graphs[kind] = Recorded(graph, recorder)
        except CannotCapture as error:
            self.give_up(error)
        finally:
            for metric, attributes in zip(scores.all_metrics, before, strict=True):
                vars(metric).update(attributes)
            if self.reason:
                frozen.put_back()
                self.run.model.forget()
                self.parts.loss.cache = None

    def give_up(self, error: CannotCapture) -> None:
        """Go on without, and say why; where a graph was asked for, raise the reason."""
        self.reason = str(error)
        self.forget()
        self.run.model.graph_reason = f"eager: {self.reason}"
        if self.run.model.graph is True:
            raise RuntimeError(f"fit: graph=True was asked for in compile, but {self.reason}.") from error

    def check_settings(self) -> None:
        """Forget the graphs if something of `all_settings` is not as it was at the last look."""
        settings = self.all_settings()
        if settings != self.settings:
            self.forget()
        self.settings = settings

    def all_settings(self) -> list[Any]:
        """Return what the graphs have in them and somebody may set, and where the optimizer's memory is."""
        settings = settings_of([*self.arena.layers, self.parts.loss, self.optimizer])
        settings += settings_of([regularizer for _, regularizer in self.arena.regularized])
        memory: dict[str, Any] = {**self.optimizer.slots, "scratch": self.optimizer.made_scratch}
        return settings + [(name, array.data.ptr) for name, array in memory.items() if array is not None]


# What changes by itself from step to step: an optimizer's counts and its rate, what a loss keeps for its backward pass.
COUNTS = ("iterations", "waiting", "_rate")
BY_ITSELF = {*SET_ANEW, *COUNTS, "dv"}
PLAIN = (int, float, bool, str, type(None), tuple)


def settings_of(things: list[Any]) -> list[Any]:
    """Return all plain attributes of things, as one list to compare."""
    return [
        (name, value)
        for thing in things
        for name, value in vars(thing).items()
        if type(value) in PLAIN and name not in BY_ITSELF
    ]


def forgetting(steps: CapturedSteps) -> Callable[[Any], None]:
    """Return what is called when data are gone; the steps, which have it, are not kept alive by it."""
    known = weakref.ref(steps)

    def forget(_: Any) -> None:
        found = known()
        if found is not None:
            found.forget()

    return forget


def nothing() -> None:
    """Return None: what captured steps are in another process."""


def given(batch: Samples) -> list[Array]:
    """Return the arrays of a batch: the weights may be left out."""
    return [array for array in batch if array is not None]


def kind_of(batch: Samples) -> tuple[Any, ...]:
    """Return shapes and dtypes of a batch."""
    return tuple((tuple(array.shape), array.dtype.str) for array in given(batch))


def arrays_of(source: Source) -> list[Any]:
    """Return the arrays that a captured step gathers from."""
    return given(source.first) if isinstance(source, ArraySource) else []


def why_not(run: Run, parts: TrainedParts) -> str:
    """Return why the steps of a run cannot be captured, as far as it is known before; empty if they may be."""
    from tinynn.training import Trainer

    model = run.model
    if model.graph is False:
        return "graph=False was asked for"
    if model.device.name != "cuda":
        return f"the model is on the CPU, which has no graphs ({model.device.reason})"
    if run.check_finite:
        return "check_finite looks at the numbers of each step"
    if type(model).train_step is not Trainer.train_step:
        return f"{type(model).__name__} has a train_step of its own"
    if isinstance(parts.optimizer, LossScaleOptimizer):
        return "in half precision the host must know at each step whether the gradients are finite"
    if not parts.optimizer.can_be_captured:
        return (
            f"{type(parts.optimizer).__name__} does not say that its update takes what changes from step to step from "
            "self.numbers (reads_numbers = True)"
        )
    lt, found = cublaslt.load(model.device.xp.cuda.runtime.runtimeGetVersion() // 1000)
    return "" if lt is not None else found


def steps_of(run: Run, parts: TrainedParts) -> EagerSteps | CapturedSteps:
    """Return how the steps of a run's epoch are done, and note it in the model's `graph_reason`.

    Raises
    ------
    RuntimeError
        If ``graph=True`` was asked for and cannot be had.
    """
    model = run.model
    reason = why_not(run, parts)
    found = model.captured
    if not reason and (found is None or not found.fits(run, parts)):
        if found is not None:
            found.forget()
        found = model.captured = CapturedSteps(run, parts)
    if reason or found is None or found.reason:
        model.graph_reason = f"eager: {reason or (found.reason if found else '')}"
        if model.graph is True:
            raise RuntimeError(f"fit: graph=True was asked for in compile, but {model.graph_reason[7:]}.")
        return EagerSteps(run, parts)
    found.begin(run, parts)
    model.graph_reason = "captured: the steps are replayed as a CUDA graph"
    return found
