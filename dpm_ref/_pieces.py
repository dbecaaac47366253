"""Work in pieces: how the samples of many data vectors are cut up, and how the pieces' results come back in their order.

A stream is up to 1024 samples of one data vector, with a random generator of its own. A piece is some streams, the work that is
handed to an executor at a time; a block is what of a piece is drawn together. Streams are fixed, so neither pieces nor blocks
change what is drawn. A `concurrent.futures.Executor` may finish pieces in any order, but their results are taken in order: what
is made of them depends on neither the executor nor the number of its workers.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

__all__ = ["pieces", "blocks", "in_order"]

Result = TypeVar("Result")

_STREAM = 1024  # samples; another number means other draws
_TASK = 2**17, 2**19  # least and most samples times steps in a piece; in between, a share of the whole
_SHARES = 16
_AHEAD = 256  # calls handed out before the result of the first is awaited


def pieces(n_rows: int, n_samples: int, T: int) -> Iterator[list[tuple[int, int]]]:
    """Lists of streams, each a pair of scalars (row, samples), in the order of rows; dimensionless. Equation (9).

    A list holds 2^17 to 2^19 samples times steps, or one stream: small jobs are cut finer, so that there is work for all.
    """
    task = min(max(n_rows * n_samples * T // _SHARES, _TASK[0]), _TASK[1])
    piece: list[tuple[int, int]] = []
    held = 0
    for row in range(n_rows):
        for start in range(0, n_samples, _STREAM):
            size = min(_STREAM, n_samples - start)
            piece.append((row, size))
            held += size * T
            if held >= task:
                yield piece
                piece, held = [], 0
    if piece:
        yield piece


def blocks(sizes: list[int], most: int) -> Iterator[slice]:
    """Slices of consecutive entries whose sizes add up to no more than `most`, or of one entry; scalars without unit. Equation (9)."""
    first, held = 0, 0
    for i, size in enumerate(sizes):
        if i > first and held + size > most:
            yield slice(first, i)
            first, held = i, 0
        held += size
    yield slice(first, len(sizes))


def in_order(executor: Executor | None, function: Callable[..., Result], calls: Iterator[tuple[Any, ...]]) -> Iterator[Result]:
    """function(*arguments) for each tuple of arguments; here, or by the executor. What a call raises is raised, as it was raised.

    Calls that have not begun by then are cancelled. No shape, no unit; the pieces of equation (9)'s average are such calls.
    """
    if executor is None:
        for arguments in calls:
            yield function(*arguments)
        return
    waiting: deque[Future[Result]] = deque()
    try:
        for arguments in calls:
            waiting.append(executor.submit(function, *arguments))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
