"""Shares of a batch, or of an array's numbers, worked on by several processors at once.

A compiled loop lets go of Python's lock, so that plain threads of Python do. They sleep while there is nothing to do:
threads that wait by spinning, as those of OpenBLAS do for a while after each product, take the processors from others.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

import threadpoolctl

SHARES = 8  # of a batch, at most: each has sums of its own for dW
PRODUCTS = 2**24  # that are worth a share: some 100 microseconds, a few times what it takes to wake a thread


@functools.cache
def threads() -> int:
    """Return how many threads NumPy's matrix products have, so that one setting holds for all; 1 if it is unknown."""
    return min(
        (pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"), default=1
    )


@functools.cache
def jobs() -> SimpleQueue[Callable[[], None] | None]:
    """Return the queue of what the threads beside the one that asks are to do; None ends a thread.

    concurrent.futures would do, but takes longer to wake them: a ReLU of a million numbers gained nothing.
    """
    queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def work_through() -> None:
        for job in iter(queue.get, None):
            job()

    for i in range(1, threads()):
        Thread(target=work_through, name=f"tinynn_{i}", daemon=True).start()
    return queue


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=jobs.cache_clear)  # a process that was forked off has none of the threads


def in_shares(work: Callable[[slice], Any], samples: int, products: int, one_each: bool = False) -> list[Any]:
    """Call `work` with slices of the batch, one after the other or at once, and return what it returns, in order.

    Who is free takes the next slice: a thread whose processor is busy with something else takes fewer. The slices are
    the same for any number of threads, and so are the results.

    Parameters
    ----------
    work : function
        Of a slice. It writes where no other share does.
    samples, products : int
        In the whole batch; where there are few products one thread is as fast.
    one_each : bool, default False
        As many slices as threads, for work that has much to do before and between; what it makes of a sample must not
        depend on the others in the slice.

    Raises
    ------
    Exception
        What the first slice raises that does, when no other is worked on any longer.
    """
    count = max(1, min(threads() if one_each else SHARES, samples, products // PRODUCTS))
    slices = [slice(samples * i // count, samples * (i + 1) // count) for i in range(count)]
    left = deque(range(count))
    results: list[Any] = [None] * count
    done: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()

    def take() -> None:
        while left:
            try:
                i = left.popleft()
            except IndexError:  # another thread has just taken the last
                return
            try:
                results[i] = work(slices[i])
            except BaseException as error:  # it belongs to the thread that asks
                done.put((i, error))
            else:
                done.put((i, None))

    for _ in range(min(threads(), count) - 1):
        jobs().put(take)
    take()
    errors = dict(done.get() for _ in range(count))
    for i in range(count):
        if (error := errors[i]) is not None:
            raise error
    return results
