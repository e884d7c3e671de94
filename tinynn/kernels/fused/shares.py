"""Shares of a batch, worked on by several processors at once.

A compiled loop lets go of Python's lock, so that plain threads of Python do. They sleep while there is nothing to do:
threads that wait by spinning, as those of OpenBLAS do for a while after each product, take the processors from others.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
def workers() -> ThreadPoolExecutor:
    """Return the threads beside the one that asks."""
    return ThreadPoolExecutor(threads() - 1, thread_name_prefix="tinynn")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.cache_clear)  # a process that was forked off has none of the threads


def in_shares(work: Callable[[slice], Any], samples: int, products: int) -> list[Any]:
    """Call `work` with slices of the batch, one after the other or at once, and return what it returns, in order.

    Who is free takes the next slice: a thread whose processor is busy with something else takes fewer. The slices are
    the same for any number of threads, and so are the results.

    Parameters
    ----------
    work : function
        Of a slice. It writes where no other share does.
    samples, products : int
        In the whole batch; where there are few products one thread is as fast.
    """
    count = max(1, min(SHARES, samples, products // PRODUCTS))
    slices = [slice(samples * i // count, samples * (i + 1) // count) for i in range(count)]
    results: list[Any] = [None] * count
    left = deque(range(count))

    def take() -> None:
        while left:
            try:
                i = left.popleft()
            except IndexError:  # another thread has just taken the last
                return
            results[i] = work(slices[i])

    others = [workers().submit(take) for _ in range(min(threads(), count) - 1)]
    take()
    for other in others:
        if not other.cancel():
            other.result()
    return results
