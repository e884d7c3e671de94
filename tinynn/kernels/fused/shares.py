"""Shares of a batch, or of an array's numbers, worked on by several processors at once.

A compiled loop lets go of Python's lock, so that plain threads of Python do: those of team.py. Work that is all
compiled is handed to them there, without Python; here a share is a function of Python's, with several kernels in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from tinynn.kernels.fused.team import team

SHARES = 8  # of a batch, at most: each has sums of its own for dW
PRODUCTS = 2**24  # that are worth a share: some 100 microseconds, a few times what it takes to wake a thread


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
    count = max(1, min(team().size if one_each else SHARES, samples, products // PRODUCTS))
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

    for _ in range(min(team().size, count) - 1):
        team().call(take)
    take()
    errors = dict(done.get() for _ in range(count))
    for i in range(count):
        if (error := errors[i]) is not None:
            raise error
    return results
