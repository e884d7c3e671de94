"""Dataset: from arrays or a generator to batches, step by step, in an order that a seed decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from tinynn.arguments import check_count
from tinynn.data import stages
from tinynn.data.arrays import as_array, kind_of
from tinynn.data.elements import StoredRows, is_stored
from tinynn.data.prefetch import Prefetched
from tinynn.data.samples import check_lengths


class Dataset:
    """A pipeline of data that can be gone through again and again, with a new order in each epoch.

    Every method returns a new Dataset, so that a pipeline reads as a sentence. Its elements are arrays or tuples of
    arrays, ``(x, y)`` or ``(x, y, sample_weight)``. An epoch's elements depend on the seeds given and on the epoch's
    number alone: ``iterate(epoch, skip)`` gives the rest of any epoch, so that a run that was killed goes on with the
    elements it had not seen. Names and habits are those of tf.data.

    Iterating with ``for`` starts with epoch 0 and goes to the next epoch each time, as tf.data and PyTorch do.

    Parameters
    ----------
    stage : Stage
        Use `from_arrays` or `from_generator` to make one.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.arange(10.0), np.arange(10)
    >>> dataset = Dataset.from_arrays(x, y).shuffle(seed=0).batch(4).map(lambda x, y: (x / 10, y)).prefetch(2)
    >>> len(dataset)
    3
    >>> for inputs, targets in dataset:
    ...     print(inputs, targets)
    [0.2 0.5 0.4 0.9] [2 5 4 9]
    [0.  0.8 0.6 0.1] [0 8 6 1]
    [0.3 0.7] [3 7]
    """

    def __init__(self, stage: stages.Stage, *others: Any) -> None:
        if others or not isinstance(stage, stages.Stage):
            raise TypeError(
                "Dataset: make one of arrays with Dataset.from_arrays(x, y), or of a generator with from_generator."
            )
        self.stage = stage
        self.epochs_begun = 0

    # Where elements come from -------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(cls, x: Any, y: Any = None, sample_weight: Any = None) -> Dataset:
        """Return a Dataset of the rows of arrays.

        Parameters
        ----------
        x, y, sample_weight : array_like
            Arrays of any kind `fit` takes, with one sample a row. Memory maps, and arrays in files of h5py and zarr,
            are not read until a row is wanted. Without `y` the elements are the rows of x alone.

        Raises
        ------
        TypeError, ValueError
            If an array is none, holds no numbers, or has another number of rows than `x`.

        Examples
        --------
        >>> dataset = Dataset.from_arrays([[1.0, 2.0], [3.0, 4.0]], [0, 1])
        >>> next(iter(dataset))
        (array([1., 2.]), np.int64(0))
        """
        who = "Dataset.from_arrays"
        if y is None and sample_weight is not None:
            raise ValueError(f"{who}: sample_weight needs y, for it weighs the loss of each target.")
        given = {"x": x, "y": y, "sample_weight": sample_weight}
        arrays = {
            name: StoredRows(array) if is_stored(array) else as_array(array, who, name)
            for name, array in given.items()
            if array is not None
        }
        check_lengths(arrays, who)
        return cls(stages.Rows(*arrays.values()))

    @classmethod
    def from_generator(cls, make_iterator: Callable[[], Any]) -> Dataset:
        """Return a Dataset of what a function's iterators yield.

        Parameters
        ----------
        make_iterator : callable
            Called at the beginning of each epoch; returns a new iterator over arrays or tuples of arrays: a generator
            function. For a run that is to be resumed it must yield the same elements each time.

        Raises
        ------
        TypeError
            If it cannot be called.

        Examples
        --------
        >>> def squares():
        ...     for i in range(4):
        ...         yield i, i * i
        >>> list(Dataset.from_generator(squares).batch(3))
        [(array([0, 1, 2]), array([0, 1, 4])), (array([3]), array([9]))]
        """
        if not callable(make_iterator):
            raise TypeError(
                "Dataset.from_generator: expected a function that returns a new iterator for each epoch, got "
                f"{kind_of(make_iterator)}. Give the generator function itself, without calling it."
            )
        return cls(stages.Made(make_iterator))

    # What is done to them -----------------------------------------------------------------------------------------

    def map(self, function: Callable[..., Any], seed: int = 0) -> Dataset:
        """Return a Dataset of what `function` makes of each element: before `batch` of a sample, after it of a batch.

        Parameters
        ----------
        function : callable
            Called with the entries of an element, ``function(x, y)``; returns the new element, an array or a tuple.
            A function with a parameter called ``rng`` draws its random numbers from that: it gets a
            `numpy.random.Generator` made anew for each element from the seed, the epoch and the element's number, so
            that they are the same when the run is repeated or resumed.
        seed : int, default 0
            Decides the numbers of ``rng``. Two maps in one pipeline draw other numbers though their seeds are the same.

        Examples
        --------
        >>> import numpy as np
        >>> def jitter(x, rng):
        ...     return x + rng.integers(10, size=x.shape)
        >>> dataset = Dataset.from_arrays(np.array([100, 200, 300])).batch(2).map(jitter, seed=1)
        >>> [x.tolist() for x in dataset], [x.tolist() for x in dataset.iterate(epoch=0)]
        ([[100, 202], [307]], [[100, 202], [307]])
        """
        if not callable(function):
            raise TypeError(f"Dataset.map: expected a function, got {kind_of(function)}.")
        if isinstance(function, type) and any("__call__" in vars(base) for base in function.__mro__):
            name = function.__name__
            raise TypeError(f"Dataset.map: {name} is a class; give an object of it that can be called, {name}(...).")
        return Dataset(stages.Mapped(self.stage, function, check_count(seed, "Dataset.map: seed", 0)))

    def shuffle(self, buffer_size: int | None = None, seed: int = 0) -> Dataset:
        """Return a Dataset with another order of the elements in each epoch.

        Parameters
        ----------
        buffer_size : int, optional
            How many elements are held to draw the next one from, where the number of elements is not known or they are
            too many to be held. By default the order is any, each as likely as the others; with the rows of arrays
            nothing is held for that but their numbers.
        seed : int, default 0
            Decides the order, with the epoch.

        Raises
        ------
        ValueError
            If no `buffer_size` is given and the number of elements is not known.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(range(5)).shuffle(seed=3)
        >>> [[int(x) for x in dataset] for epoch in range(2)]
        [[4, 0, 2, 1, 3], [1, 3, 0, 4, 2]]
        """
        if buffer_size is not None:
            buffer_size = check_count(buffer_size, "Dataset.shuffle: buffer_size")
        return Dataset(stages.Shuffled(self.stage, buffer_size, check_count(seed, "Dataset.shuffle: seed", 0)))

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Return a Dataset of batches: elements stacked along a new first axis.

        Parameters
        ----------
        batch_size : int
            Elements a batch.
        drop_remainder : bool, default False
            Whether to leave out the last batch if it is smaller.

        Examples
        --------
        >>> [x.tolist() for x in Dataset.from_arrays(range(5)).batch(2)]
        [[0, 1], [2, 3], [4]]
        """
        size = check_count(batch_size, "Dataset.batch: batch_size")
        return Dataset(stages.Batched(self.stage, size, bool(drop_remainder)))

    def prefetch(self, buffer_size: int) -> Dataset:
        """Return a Dataset whose elements are made ahead by a thread, while the one before is used.

        The order stays. An error is raised where its element is due. The thread ends with the iteration, however that
        ends.

        Parameters
        ----------
        buffer_size : int
            How many elements are made ahead, at most; 2 will do.

        Examples
        --------
        >>> [int(x) for x in Dataset.from_arrays(range(5)).prefetch(2)]
        [0, 1, 2, 3, 4]
        """
        return Dataset(Prefetched(self.stage, check_count(buffer_size, "Dataset.prefetch: buffer_size")))

    def take(self, count: int) -> Dataset:
        """Return a Dataset of the first `count` elements.

        Examples
        --------
        >>> [int(x) for x in Dataset.from_arrays(range(5)).take(2)]
        [0, 1]
        """
        return Dataset(stages.Taken(self.stage, check_count(count, "Dataset.take: count", 0)))

    def skip(self, count: int) -> Dataset:
        """Return a Dataset without the first `count` elements.

        Examples
        --------
        >>> [int(x) for x in Dataset.from_arrays(range(5)).skip(2)]
        [2, 3, 4]
        """
        return Dataset(stages.Skipped(self.stage, check_count(count, "Dataset.skip: count", 0)))

    def repeat(self, count: int | None = None) -> Dataset:
        """Return a Dataset whose epoch is `count` epochs of this one, or all of them: then it never ends.

        Examples
        --------
        >>> [int(x) for x in Dataset.from_arrays(range(3)).repeat(2)]
        [0, 1, 2, 0, 1, 2]
        """
        if count is not None:
            count = check_count(count, "Dataset.repeat: count", 0)
        return Dataset(stages.Repeated(self.stage, count))

    # Going through them -------------------------------------------------------------------------------------------

    def iterate(self, epoch: int = 0, skip: int = 0) -> Iterator[Any]:
        """Return an iterator over one epoch's elements, from number `skip` on: the same whenever it is asked for.

        Skipping is cheap where the elements are rows of arrays, shuffled or not; what comes from a generator is
        made and thrown away, but no function of `map` is called for what is skipped.

        Parameters
        ----------
        epoch : int, default 0
        skip : int, default 0

        Examples
        --------
        >>> dataset = Dataset.from_arrays(range(6)).shuffle(seed=0)
        >>> whole, rest = list(dataset.iterate(epoch=3)), list(dataset.iterate(epoch=3, skip=4))
        >>> rest == whole[4:]
        True
        """
        epoch = check_count(epoch, "Dataset.iterate: epoch", 0)
        return self.stage.iterate(epoch, check_count(skip, "Dataset.iterate: skip", 0))

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the next epoch; the first one is epoch 0."""
        self.epochs_begun += 1
        return self.iterate(self.epochs_begun - 1)

    def __repr__(self) -> str:
        length = self.stage.length
        count = "unknown many" if length is None else "endlessly many" if math.isinf(length) else length
        return f"<Dataset of {count} elements>"

    def __len__(self) -> int:
        """Return the number of elements of an epoch."""
        length = self.stage.length
        if length is None:
            raise TypeError(
                "this Dataset's length is not known before its end: it comes from a generator. Count it with "
                "sum(1 for _ in dataset.iterate()), if it ends."
            )
        if math.isinf(length):
            raise TypeError("this Dataset has no length: it is repeated without end. take(n) gives it one.")
        return int(length)
