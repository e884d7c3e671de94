"""The files that TensorBoard reads: records of numbers and histograms, each with a step and a time.

The records are tensorboardX's, the file is written here: its own writer hands them to a thread, and its flush does not
wait for that; nor can it go on in a file, as a resumed training must.
"""

from __future__ import annotations

import math
import os
import struct
import time
from typing import Any

import numpy as np

from tinynn.backend import Array, array_module, to_host
from tinynn.callbacks.files import writing

BINS = 30  # as many as TensorBoard shows


class EventFile:
    """A file of records, which starts where there is none and goes on where there is.

    A record is in the file when `write` returns: a program that is killed then loses none.

    Parameters
    ----------
    path : str
        Its name must have ``tfevents`` in it.
    """

    def __init__(self, path: str) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.path = path
        with writing("TensorBoard", path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.file = open(path, "ab")  # noqa: SIM115
        if self.file.tell() == 0:
            self.append(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, step: int, numbers: dict[str, float], histograms: dict[str, Any] | None = None) -> None:
        """Write numbers and histograms under their tags, all at one step."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in numbers.items()]
        values += [Summary.Value(tag=tag, histo=value) for tag, value in (histograms or {}).items()]
        self.append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def append(self, event: Any) -> None:
        """Write a record: its length and its bytes, each with a checksum."""
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        with writing("TensorBoard", self.path):
            self.file.write(length)
            self.file.write(struct.pack("<I", masked_crc32c(length)))
            self.file.write(data)
            self.file.write(struct.pack("<I", masked_crc32c(data)))
            self.file.flush()

    def sync(self) -> int:
        """Bring the file to the disk and return its length."""
        os.fsync(self.file.fileno())
        return self.file.tell()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def histogram(x: Array) -> Any:
    """Return the histogram of the finite numbers in an array; None if there are none.

    Examples
    --------
    >>> import numpy as np
    >>> found = histogram(np.array([0.0, 1.0, 1.0, 3.0, np.inf]))
    >>> found.num, found.sum, found.min, found.max, sum(found.bucket), len(found.bucket), found.bucket_limit[-1]
    (4.0, 5.0, 0.0, 3.0, 4.0, 30, 3.0)
    """
    from tensorboardX.proto.summary_pb2 import HistogramProto

    xp = array_module(x)
    x = x[xp.isfinite(x)].astype("float64")
    if x.size == 0:
        return None
    low, high = float(x.min()), float(x.max())
    counts, limits = [x.size], [high]
    if 2 * BINS * math.ulp(max(abs(low), abs(high))) < high - low < math.inf:  # else one bin, for there is no room
        found, edges = xp.histogram(x, BINS)
        counts, limits = to_host(found).tolist(), to_host(edges)[1:].tolist()
    with np.errstate(over="ignore"):
        total, squares = float(x.sum()), float((x * x).sum())
    return HistogramProto(
        min=low, max=high, num=x.size, sum=total, sum_squares=squares, bucket_limit=limits, bucket=counts
    )
