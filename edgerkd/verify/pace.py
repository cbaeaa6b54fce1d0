"""How slow this machine is just now: emulated, or busy with other work, it gives engines more time."""

import time

import numpy as np

USUAL = 5e-3
"""Seconds that the products below may take on the slowest board that limits of time were chosen for. Ours, for no such
board was at hand: 0.2 ms were measured on a core of an AMD EPYC, and 130 ms in emulation there, beside other work."""
MOST = 50.0
"""Times as slow, at most: what is slower still is taken for a hang. Ours."""
AGAIN = 10.0
"""Seconds for which a measurement counts. Ours."""
_SIDE, _PRODUCTS = 128, 5


class Pace:
    """Measured when it is asked for, and again when that is long ago."""

    def __init__(self) -> None:
        self._found, self._until = 1.0, float("-inf")

    def factor(self) -> float:
        """How many times as long as it usually may something takes here, 1 to MOST."""
        if time.monotonic() >= self._until:
            self._found = min(max(_seconds() / USUAL, 1.0), MOST)
            self._until = time.monotonic() + AGAIN
        return self._found


def _seconds() -> float:
    """That a few products of matrices take: ten million multiply-adds."""
    matrix = np.full((_SIDE, _SIDE), 1 / _SIDE, np.float32)
    np.dot(matrix, matrix)  # which loads the kernel
    started = time.perf_counter()
    for _ in range(_PRODUCTS):
        np.dot(matrix, matrix)
    return time.perf_counter() - started
