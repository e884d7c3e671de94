"""Kernels: the loops that are worth writing for speed, each a plain function on arrays.

A kernel computes what the plain lines of its layer compute, in memory that it uses again (``out=...``). The layer runs
the kernel; with ``plain = True`` it runs its own lines, and a test holds the two to the same numbers.
"""
