"""Prefetching: a thread that is never seen but for its speed."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from tinynn.data import Dataset


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tinynn prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    end = time.monotonic() + 2
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == []


def endless() -> Iterator[int]:
    return itertools.count()


def test_elements_are_made_ahead_and_no_more_than_were_asked_for() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    elements = Dataset.from_generator(make).prefetch(3).iterate()
    assert made == []  # nothing begins before it is wanted
    assert next(elements) == 0
    end = time.monotonic() + 2
    while len(made) < 5 and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) == 5  # one taken, three on the shelf, one in the hand
    assert list(elements) == list(range(1, 100))


def test_the_thread_works_while_the_element_is_used() -> None:
    def make() -> Iterator[int]:
        for i in range(10):
            time.sleep(0.02)
            yield i

    start = time.perf_counter()
    for _ in Dataset.from_generator(make).prefetch(2):
        time.sleep(0.02)
    assert time.perf_counter() - start < 0.36  # 0.4 one after another


@pytest.mark.parametrize("leave", ["break", "error", "close", "forget", "end"])
def test_the_thread_ends_however_the_iteration_ends(leave: str) -> None:
    elements: Any = Dataset.from_generator(endless).take(50).prefetch(2).iterate()
    next(elements)
    assert len(threads()) == 1
    if leave == "break":
        for element in elements:
            if element == 5:
                break
        del elements
    elif leave == "error":
        with pytest.raises(ZeroDivisionError):
            [1 / (element - 5) for element in elements]
        del elements
    elif leave == "close":
        elements.close()
    elif leave == "forget":
        del elements
        gc.collect()
    else:
        assert len(list(elements)) == 49
    assert threads() == []


def test_an_error_comes_where_its_element_is_due_with_its_traceback() -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("the third page is missing")

    elements = Dataset.from_generator(make).prefetch(5).iterate()
    assert [next(elements), next(elements)] == [1, 2]
    with pytest.raises(KeyError, match="the third page is missing") as caught:
        next(elements)
    assert "in make" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert list(elements) == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_errors_of_every_kind_reach_the_user(kind: type[BaseException]) -> None:
    def bad(x: int) -> int:
        raise kind("here")

    with pytest.raises((kind, RuntimeError)):
        list(Dataset.from_generator(endless).map(bad).prefetch(1))


def test_a_source_is_closed_in_its_thread() -> None:
    closed: list[str] = []

    def make() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(threading.current_thread().name)

    elements: Any = Dataset.from_generator(make).map(lambda x: x).prefetch(2).prefetch(2).iterate()
    next(elements)
    elements.close()
    assert closed == ["tinynn prefetch"]


def test_a_source_that_waits_for_ever_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinynn.data.prefetch.PATIENCE", 0.05)
    gate = threading.Event()

    def make() -> Iterator[int]:
        yield 1
        gate.wait()

    elements: Any = Dataset.from_generator(make).prefetch(1).iterate()
    next(elements)
    start = time.perf_counter()
    elements.close()
    assert time.perf_counter() - start < 0.5
    gate.set()


def test_many_at_once() -> None:
    datasets = [Dataset.from_generator(endless).take(200).prefetch(1) for _ in range(20)]
    assert all(row == (i,) * 20 for i, row in enumerate(zip(*datasets, strict=True)))


PROGRAM = """
import itertools, threading, time
from tinynn.data import Dataset
def slow():
    for i in itertools.count():
        if i > 2:
            {wait}
        yield i
try:
    for x in Dataset.from_generator(slow).prefetch(2):
        print(x, flush=True)
        {use}
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.parametrize(
    ("wait", "use"), [("time.sleep(60)", "pass"), ("threading.Event().wait()", "pass"), ("pass", "time.sleep(0.2)")]
)
def test_ctrl_c_ends_a_program_at_once(wait: str, use: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(wait=wait, use=use)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert [program.stdout.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
    time.sleep(0.1)
    os.kill(program.pid, signal.SIGINT)
    out, errors = program.communicate(timeout=10)
    assert out.endswith(b"stopped\n")
    assert errors == b""
    assert program.returncode == 0
