"""A team: threads that take pieces of a job, in compiled code, without Python's lock.

To wake a thread that sleeps takes as long as a small product; so a thread that has done its piece looks for the next
for a while, and only then goes to sleep. What there is to do stands on a board, an array that all of them see:

    TICKET     the number of the job, and how many pieces are left: who counts it down by one has taken a piece
    FUNCTION   the address of a compiled function of the piece's number and of ARGUMENTS, another address
    FINISHED   how many pieces are done
    CALLED     how many jobs in Python were put into the queue, see shares.py
    ASLEEP     how many threads sleep

The one who asks takes pieces too, and waits for those that others have taken. A thread that comes late finds none left.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

import numba
import numpy as np
import threadpoolctl
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.numpy_support import carray

from tinynn.backend import Array
from tinynn.kernels.fused.compiler import kept, loop, of_llvm

TICKET, FUNCTION, ARGUMENTS, FINISHED, CALLED, ASLEEP = (8 * i for i in range(6))  # each in a line of the cache
PIECES = 2**16  # what a ticket has room for: beneath it the pieces that are left, above it the job's number
LOOKS = 2**19  # at the board before a thread goes to sleep: about a millisecond


def place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return the address of a number of the board, from the first two arguments of an intrinsic."""
    board = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(board.data, [arguments[1]])


@of_llvm
def look(typing: Any, board: Any, index: Any) -> Any:
    """Return a number of the board as the others have written it, and all that they wrote before."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(place(context, builder, signature, arguments), "acquire", align=8)

    return types.int64(board, types.int64), write


@of_llvm
def put(typing: Any, board: Any, index: Any, number: Any) -> Any:
    """Write a number to the board, for the others to see after all that was written before."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = place(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], address, "release", align=8)
        return context.get_dummy_value()

    return types.void(board, types.int64, types.int64), write


@of_llvm
def add(typing: Any, board: Any, index: Any, number: Any) -> Any:
    """Add to a number of the board, whoever else does at the same time; return what it was."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", place(context, builder, signature, arguments), arguments[2], "seq_cst")

    return types.int64(board, types.int64, types.int64), write


@of_llvm
def exchange(typing: Any, board: Any, index: Any, old: Any, new: Any) -> Any:
    """Write `new` in place of `old`, and return whether `old` was still there."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = place(context, builder, signature, arguments)
        found = builder.cmpxchg(address, arguments[2], arguments[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(board, types.int64, types.int64, types.int64), write


@of_llvm
def call(typing: Any, address: Any, piece: Any, arguments_address: Any) -> Any:
    """Call the compiled function at an address."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(64)
        function = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), [number, number]).as_pointer())
        builder.call(function, [arguments[1], arguments[2]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), write


@of_llvm
def pointer(typing: Any, address: Any) -> Any:
    """Return an address as what `numba.carray` takes."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), write


def piece(function: Callable[..., Any]) -> int:
    """Compile a function of a piece's number and the address of its arguments, both int64, and return its address."""
    decorate = functools.partial(numba.cfunc, types.void(types.int64, types.int64))
    compiled = kept(decorate, function, error_model="numpy", fastmath={"contract"})  # as in compiler.py
    COMPILED.append(compiled)
    assert compiled.address is not None
    return compiled.address


COMPILED: list[Any] = []  # the functions whose addresses are used


# The arguments of a piece are an array of int64: six for each array, its address and up to five sizes; then numbers.


@loop
def address(x: Any) -> Any:
    """Return where an array begins."""
    return x.ctypes.data


def packed(arrays: tuple[Array, ...], *numbers: int) -> Array:
    """Return contiguous arrays and whole numbers as the arguments of a piece; somebody has to hold the arrays."""
    found: list[int] = []
    for x in arrays:
        found += (address(x), *x.shape, *(0,) * (5 - x.ndim))
    return np.array([*found, *numbers])


@loop
def unpacked(arguments: Any) -> Any:
    """Return the arguments at an address; there are no more than so many."""
    return carray(pointer(arguments), 64, np.int64)


@loop
def array1(n: Any, i: Any, dtype: Any) -> Any:
    """Return array i of the arguments, which has one axis."""
    return carray(pointer(n[6 * i]), n[6 * i + 1], dtype)


@loop
def array2(n: Any, i: Any, dtype: Any) -> Any:
    """Return array i of the arguments, which has two axes."""
    return carray(pointer(n[6 * i]), (n[6 * i + 1], n[6 * i + 2]), dtype)


@loop
def array3(n: Any, i: Any, dtype: Any) -> Any:
    """Return array i of the arguments, which has three axes."""
    return carray(pointer(n[6 * i]), (n[6 * i + 1], n[6 * i + 2], n[6 * i + 3]), dtype)


@loop
def array4(n: Any, i: Any, dtype: Any) -> Any:
    """Return array i of the arguments, which has four axes."""
    return carray(pointer(n[6 * i]), (n[6 * i + 1], n[6 * i + 2], n[6 * i + 3], n[6 * i + 4]), dtype)


@loop
def array5(n: Any, i: Any, dtype: Any) -> Any:
    """Return array i of the arguments, which has five axes."""
    return carray(pointer(n[6 * i]), (n[6 * i + 1], n[6 * i + 2], n[6 * i + 3], n[6 * i + 4], n[6 * i + 5]), dtype)


@loop
def take_pieces(board: Any) -> None:
    """Take pieces until none is left."""
    while True:
        ticket = look(board, TICKET)
        left = ticket % PIECES
        if left == 0:
            return
        function, arguments = board[FUNCTION], board[ARGUMENTS]  # of this job, if the ticket is still there
        if exchange(board, TICKET, ticket, ticket - 1):
            call(function, left - 1, arguments)
            add(board, FINISHED, 1)


@loop
def share_out(board: Any, function: Any, arguments: Any, pieces: Any) -> None:
    """Do a job of so many pieces together with the team; only one may ask at a time."""
    job = (look(board, TICKET) // PIECES + 1) * PIECES
    put(board, TICKET, job)  # no piece is left of the job before, nor one there of this
    board[FUNCTION], board[ARGUMENTS] = function, arguments.ctypes.data
    put(board, FINISHED, 0)
    put(board, TICKET, job + pieces)
    take_pieces(board)
    while look(board, FINISHED) < pieces:
        pass


@loop
def alone(function: Any, arguments: Any, pieces: Any) -> None:
    """Do a job of so many pieces."""
    for number in range(pieces):
        call(function, number, arguments.ctypes.data)


@loop
def count(board: Any, index: Any, number: Any) -> None:
    """Add to a number of the board."""
    add(board, index, number)


@loop
def stand_by(board: Any, called: Any) -> None:
    """Take pieces of jobs as they come, until a job in Python is called for, or there was nothing for a while."""
    looks = 0
    while looks < LOOKS and look(board, CALLED) == called:
        looks += 1
        if look(board, TICKET) % PIECES > 0:
            take_pieces(board)
            looks = 0


class Team(NamedTuple):
    """The threads beside the one that asks, and what they look at.

    Attributes
    ----------
    board : array of int64
    jobs : SimpleQueue
        Functions to call in Python; None ends a thread.
    asks : Lock
        Held by who has put a job on the board.
    size : int
        How many work together, with the one that asks.
    threads : list of Thread
        Those beside the one that asks.
    """

    board: Array
    jobs: SimpleQueue[Callable[[], Any] | None]
    asks: Any
    size: int
    threads: list[Thread]

    def serve(self) -> None:
        """Be one of the threads."""
        while True:
            called = self.board[CALLED]
            if self.jobs.empty():  # what is put in later changes CALLED
                stand_by(self.board, called)
            count(self.board, ASLEEP, 1)
            job = self.jobs.get()
            count(self.board, ASLEEP, -1)
            if job is None:
                return
            job()

    def wake(self) -> None:
        """Let a job come to who sleeps: a function that does nothing, after which a thread looks at the board."""
        asleep = self.board[ASLEEP]
        for _ in range(asleep - self.jobs.qsize() if asleep else 0):
            self.jobs.put(int)

    def call(self, job: Callable[[], Any] | None) -> None:
        """Let one of the threads call a function."""
        self.jobs.put(job)
        count(self.board, CALLED, 1)

    def end(self) -> None:
        """End the threads."""
        for _ in self.threads:
            self.call(None)
        for thread in self.threads:
            thread.join(timeout=1)

    def share_out(self, function: int, pieces: int, arrays: Iterable[Array], *numbers: int) -> None:
        """Do a job of so many pieces: a compiled function, see `piece`, and the arrays and numbers that it looks up.

        A piece knows addresses alone. So the arrays, which may have been made for this call, are held here until all
        is done.
        """
        held = tuple(arrays)
        arguments = packed(held, *numbers)
        if pieces == 1 or not self.asks.acquire(blocking=False):  # two threads of Python train at the same time
            alone(function, arguments, pieces)
            return
        try:
            self.wake()
            share_out(self.board, function, arguments, pieces)
        finally:
            self.asks.release()


@functools.cache
def threads() -> int:
    """Return how many threads NumPy's matrix products have, so that one setting holds for all; 1 if it is unknown."""
    return min(
        (pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"), default=1
    )


@functools.cache
def team() -> Team:
    """Return the team, which begins to work at the first call."""
    made = Team(np.zeros(8 * 8, dtype=np.int64), SimpleQueue(), Lock(), threads(), [])
    stand_by(made.board, -1)  # compiles it here, before there are threads
    for i in range(1, made.size):
        made.threads.append(Thread(target=made.serve, name=f"tinynn_{i}", daemon=True))
        made.threads[-1].start()
    return made


@atexit.register
def end_team() -> None:
    """End the threads, lest one looks at the board when the process takes it away."""
    if team.cache_info().currsize:
        team().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=team.cache_clear)  # a process that was forked off has none of the threads
