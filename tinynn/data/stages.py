"""The stages of a `Dataset`: where elements come from, and what each step does to them.

A stage answers two questions. `iterate(epoch, skip)` gives the elements of one epoch in their order, from number `skip`
on. Where the elements can be had by number (`indexed`), `gather(epoch, numbers)` gives many of them at once, so that
arrays, shuffled and cut into batches, are one gather for each batch and are not read to be skipped.

Random numbers come from (seed, which random stage it is, epoch, element): so any epoch can be begun anywhere.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynn.backend import Array, generator
from tinynn.data.arrays import kind_of, native
from tinynn.data.elements import Numbers, StoredRows, gathered, joined, moved, one_or_tuple, stack

# What a pipeline's random numbers are for, beside the purposes in model.py: one seed serves both.
PIPELINE = 3


class Stage:
    """One step of a pipeline; the elements are arrays, or tuples of them."""

    length: float | None = None  # how many elements an epoch has; inf: no end; None: known when it has ended
    indexed = False  # whether elements can be had by number
    random_stages = 0  # how many stages up to this one draw random numbers

    def __init__(self, source: Stage) -> None:
        self.source = source
        self.length, self.indexed, self.random_stages = source.length, source.indexed, source.random_stages

    def element(self, epoch: int, number: int) -> Any:
        """Return one element of an epoch, where they can be had by number."""
        raise NotImplementedError

    def gather(self, epoch: int, numbers: Numbers) -> Any:
        """Return many elements of an epoch stacked, where they can be had by number."""
        return stack([self.element(epoch, int(number)) for number in numbers])

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield the elements of an epoch from number `skip` on, where they must be had one after another."""
        raise NotImplementedError

    def iterate(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield the elements of an epoch from number `skip` on."""
        if not self.indexed:
            return self.stream(epoch, skip)
        assert self.length is not None
        numbers = itertools.count(skip) if math.isinf(self.length) else iter(range(skip, int(self.length)))
        return (self.element(epoch, number) for number in numbers)

    def generator(self, seed: int, *place: int) -> np.random.Generator:
        """Return the random numbers of this stage at one place."""
        return generator(seed, PIPELINE, self.random_stages, *place)


class Rows(Stage):
    """The rows of arrays."""

    indexed = True

    def __init__(self, *arrays: Array | StoredRows) -> None:
        self.arrays = arrays
        self.length = len(arrays[0])

    def element(self, epoch: int, number: int) -> Any:
        """Return one row of each array."""
        return one_or_tuple([native(array[number]) for array in self.arrays])

    def gather(self, epoch: int, numbers: Numbers) -> Any:
        """Return copies of some rows."""
        return one_or_tuple([gathered(array, numbers) for array in self.arrays])


class Made(Stage):
    """What the iterators of a function yield; a new iterator for each epoch."""

    def __init__(self, make_iterator: Callable[[], Any]) -> None:
        self.make_iterator = make_iterator

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield what a new iterator yields; what is skipped is made and thrown away."""
        made = self.make_iterator()
        if not hasattr(made, "__iter__"):
            raise TypeError(
                "Dataset.from_generator: make_iterator must return a new iterator at each call, as a generator "
                f"function does; it returned {kind_of(made)}."
            )
        yield from itertools.islice(made, skip, None)


class Mapped(Stage):
    """Each element as a function makes it; a function with a parameter called rng gets a generator."""

    def __init__(self, source: Stage, function: Callable[..., Any], seed: int) -> None:
        super().__init__(source)
        self.function, self.seed = function, seed
        self.random = takes_rng(function)
        self.random_stages += self.random

    def element(self, epoch: int, number: int) -> Any:
        """Return the function of an element."""
        return self.call(self.source.element(epoch, number), epoch, number)

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield the function of each element; it is not called for what is skipped."""
        for number, element in enumerate(self.source.iterate(epoch, skip), skip):
            yield self.call(element, epoch, number)

    def call(self, element: Any, epoch: int, number: int) -> Any:
        """Return the function of an element, with its own random numbers if it wants some."""
        entries = element if isinstance(element, tuple) else (element,)
        options = {"rng": self.generator(self.seed, epoch, number)} if self.random else {}
        try:
            result = self.function(*entries, **options)
        except Exception as error:
            error.add_note(f"in Dataset.map({name_of(self.function)}), element {number} of epoch {epoch}")
            raise
        if result is None:
            raise TypeError(
                f"Dataset.map: {name_of(self.function)} returned None. It must return the new element: an array, or a "
                "tuple such as (x, y)."
            )
        return result


def takes_rng(function: Callable[..., Any]) -> bool:
    """Return whether a function has a parameter called rng."""
    try:
        return "rng" in inspect.signature(function).parameters
    except ValueError:  # some functions written in C do not tell
        return False


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called, or an object that can be called."""
    return getattr(function, "__qualname__", type(function).__qualname__)


class Shuffled(Stage):
    """The elements in another order in each epoch: any order, or as far as a buffer lets it."""

    def __init__(self, source: Stage, buffer_size: int | None, seed: int) -> None:
        super().__init__(source)
        if buffer_size is None and (source.length is None or math.isinf(source.length)):
            raise ValueError(
                "Dataset.shuffle: how many elements there are is not known before they have been read; give a "
                "buffer_size: so many are held to draw the next one from, such as 10,000 samples."
            )
        self.buffer_size, self.seed = buffer_size, seed
        self.indexed = source.indexed and not math.isinf(source.length or 0)
        self.random_stages += 1
        self.last: tuple[int, Array] | None = None

    def order(self, epoch: int) -> Array:
        """Return the order of an epoch; the last one is kept, for it is asked for at each element."""
        last = self.last
        if last is None or last[0] != epoch:
            assert self.source.length is not None
            rng, count = self.generator(self.seed, epoch), int(self.source.length)
            if self.buffer_size is None or self.buffer_size >= count:
                order = rng.permutation(count)
            else:
                order = np.fromiter(through_buffer(iter(range(count)), self.buffer_size, rng), np.int64, count)
            last = self.last = (epoch, order)
        return last[1]

    def element(self, epoch: int, number: int) -> Any:
        """Return the element whose turn it is."""
        return self.source.element(epoch, int(self.order(epoch)[number]))

    def gather(self, epoch: int, numbers: Numbers) -> Any:
        """Return the elements whose turn it is: the source's, at other numbers."""
        order = self.order(epoch)
        numbers = order[numbers.start : numbers.stop] if isinstance(numbers, range) else order[numbers]
        return self.source.gather(epoch, numbers)

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield what comes out of the buffer; what is skipped must go through it too."""
        size = int(self.source.length or 0) if self.buffer_size is None else self.buffer_size
        rng = self.generator(self.seed, epoch)
        return itertools.islice(through_buffer(self.source.iterate(epoch, 0), size, rng), skip, None)


def through_buffer(elements: Iterator[Any], size: int, rng: np.random.Generator) -> Iterator[Any]:
    """Yield elements drawn from a buffer that is filled up again after each, until nothing is left."""
    buffer = list(itertools.islice(elements, size))
    for element in elements:
        place = int(rng.integers(len(buffer)))
        yield buffer[place]
        buffer[place] = element
    for place in rng.permutation(len(buffer)):
        yield buffer[place]


class Batched(Stage):
    """Elements stacked, `size` at a time."""

    def __init__(self, source: Stage, size: int, drop_remainder: bool) -> None:
        super().__init__(source)
        self.size, self.drop_remainder = size, drop_remainder
        if self.length is not None and not math.isinf(self.length):
            self.length = self.length // size if drop_remainder else math.ceil(self.length / size)

    def element(self, epoch: int, number: int) -> Any:
        """Return one batch: one gather."""
        assert self.source.length is not None
        start = number * self.size
        return self.source.gather(epoch, range(start, int(min(start + self.size, self.source.length))))

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield batches; what is skipped is skipped by the source."""
        elements = self.source.iterate(epoch, skip * self.size)
        while batch := list(itertools.islice(elements, self.size)):
            if len(batch) == self.size or not self.drop_remainder:
                yield stack(batch)


class Taken(Stage):
    """The first elements."""

    def __init__(self, source: Stage, count: int) -> None:
        super().__init__(source)
        self.count = count
        self.length = None if source.length is None else min(count, source.length)

    def element(self, epoch: int, number: int) -> Any:
        """Return the source's element."""
        return self.source.element(epoch, number)

    def gather(self, epoch: int, numbers: Numbers) -> Any:
        """Return the source's elements."""
        return self.source.gather(epoch, numbers)

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield the source's elements as long as there are some left to take."""
        return itertools.islice(self.source.iterate(epoch, skip), max(0, self.count - skip))


class Skipped(Stage):
    """All but the first elements."""

    def __init__(self, source: Stage, count: int) -> None:
        super().__init__(source)
        self.count = count
        self.length = None if source.length is None else max(0, source.length - count)

    def element(self, epoch: int, number: int) -> Any:
        """Return the source's element so many later."""
        return self.source.element(epoch, number + self.count)

    def gather(self, epoch: int, numbers: Numbers) -> Any:
        """Return the source's elements so many later."""
        return self.source.gather(epoch, moved(numbers, self.count))

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield the source's elements so many later."""
        return self.source.iterate(epoch, skip + self.count)


class Repeated(Stage):
    """The elements of `count` epochs of the source as one epoch, or of all epochs."""

    def __init__(self, source: Stage, count: int | None) -> None:
        super().__init__(source)
        self.count = count
        if count is None and source.length == 0:
            raise ValueError("Dataset.repeat: there are no elements to repeat.")
        if count is None:
            self.length = math.inf
        elif source.length is not None:
            self.length = source.length * count
        self.indexed = source.indexed and not math.isinf(source.length or 0)

    def epoch_inside(self, epoch: int, turn: int) -> int:
        """Return which epoch of the source it is: none comes twice."""
        return epoch * (2**32 if self.count is None else self.count) + turn

    def element(self, epoch: int, number: int) -> Any:
        """Return an element of the epoch inside that it falls into."""
        turn, number = divmod(number, int(self.source.length or 0))
        return self.source.element(self.epoch_inside(epoch, turn), number)

    def gather(self, epoch: int, numbers: Numbers) -> Any:
        """Return elements that stand together: one gather for each epoch inside."""
        if not isinstance(numbers, range):
            return super().gather(epoch, numbers)
        size, start, parts = int(self.source.length or 0), numbers.start, []
        while start < numbers.stop:
            turn, first = divmod(start, size)
            count = min(size - first, numbers.stop - start)
            parts.append(self.source.gather(self.epoch_inside(epoch, turn), range(first, first + count)))
            start += count
        return parts[0] if len(parts) == 1 else joined(parts)

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield one epoch inside after another."""
        length, first = self.source.length, 0
        if length and not math.isinf(length):
            first, skip = divmod(skip, int(length))
        for turn in itertools.count(first) if self.count is None else range(first, self.count):
            empty = True
            for element in self.source.iterate(self.epoch_inside(epoch, turn), 0 if length is None else skip):
                empty = False
                if length is None and skip:
                    skip -= 1
                else:
                    yield element
            if empty and self.count is None:  # for ever nothing
                raise ValueError("Dataset.repeat: there are no elements to repeat.")
            skip = skip if length is None else 0
