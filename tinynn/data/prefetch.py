"""Prefetching: a thread that makes the next elements while the last one is used."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from tinynn.data.stages import Stage


class Prefetched(Stage):
    """Elements made ahead, in their order, by a thread."""

    def __init__(self, source: Stage, size: int) -> None:
        super().__init__(source)
        self.size = size
        self.indexed = False  # elements had by number would pass the thread by

    def stream(self, epoch: int, skip: int) -> Iterator[Any]:
        """Yield what the thread made."""
        return ahead(self.source.iterate(epoch, skip), self.size)


def ahead(elements: Iterator[Any], size: int) -> Iterator[Any]:
    """Yield elements that a thread makes ahead, up to `size` of them.

    An error in the thread is raised here, where its element is due. The thread ends with the iterator, whether that
    is used up, closed, left by an exception (Ctrl-C too) or forgotten.

    Examples
    --------
    >>> list(ahead(iter(range(3)), 2))
    [0, 1, 2]
    """
    shelf = Shelf(size)
    # A daemon: a program whose source waits for ever can end all the same.
    thread = threading.Thread(target=fill, args=(shelf, elements), name="tinynn prefetch", daemon=True)
    thread.start()
    try:
        while True:
            element, error = shelf.take()
            if error is not None:
                raise error
            if element is END:
                return
            yield element
            del element  # it is the user's now: its memory is not held while the next one is waited for
    finally:
        error = None  # an error holds this frame and this frame would hold the error
        shelf.close()
        if threading.current_thread() is not thread:  # a forgotten iterator may be cleared away in any thread
            thread.join(PATIENCE)


END = object()
PATIENCE = 1.0  # seconds that the thread's element at hand is waited for, so that nothing runs on unseen


class Shelf:
    """What is between the two threads: a few elements, and whether anybody still wants them."""

    def __init__(self, size: int) -> None:
        self.size, self.closed = size, False
        self.elements: deque[tuple[Any, BaseException | None]] = deque()
        self.changed = threading.Condition()

    def put(self, element: Any, error: BaseException | None = None) -> bool:
        """Wait for room and put an element; return whether anybody still wants more."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or len(self.elements) < self.size)
            if not self.closed:
                self.elements.append((element, error))
                self.changed.notify_all()
            return not self.closed

    def take(self) -> tuple[Any, BaseException | None]:
        """Wait for an element and take it."""
        with self.changed:
            self.changed.wait_for(lambda: self.elements)
            taken = self.elements.popleft()
            self.changed.notify_all()
            return taken

    def close(self) -> None:
        """Let the thread end."""
        with self.changed:
            self.closed = True
            self.elements.clear()
            self.changed.notify_all()


def fill(shelf: Shelf, elements: Iterator[Any]) -> None:
    """Put one element after another on the shelf; this is what the thread does."""
    try:
        for element in elements:
            if not shelf.put(element):
                break
        else:
            shelf.put(END)
    except BaseException as error:  # the thread that uses the elements raises it
        shelf.put(None, error)
    finally:
        close = getattr(elements, "close", None)  # a generator cleans up here, in the thread that ran it
        if close is not None:
            close()
