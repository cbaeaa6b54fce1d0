"""What a study keeps of each student, and how its file is read: without torch, which tables do not need."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One training run and what came of it.

    `minutes` are of one core (of the wall with several threads or a GPU), validation included, `gmacs` thousand
    millions of multiply-adds. `epochs_acc` are validation accuracies after each epoch, clean and by PGD-10.
    `correct` has for each attack which images were still answered right, as `packed` says, and under `clean` those
    right as they are.
    """

    case: str
    run: str
    method: str
    set: dict[str, Any]
    seed: int
    student: str
    params: int
    macs: int
    epochs: int
    minutes: float
    forward: int
    backward: int
    gmacs: float
    epochs_acc: list[list[float]]
    correct: dict[str, str]
    machine: str


def packed(answers: Sequence[bool]) -> str:
    """So many answers as `N:HEX`, eight a byte."""
    return f"{len(answers)}:{np.packbits(np.asarray(answers, bool)).tobytes().hex()}"


def unpacked(text: str) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """The answers that `packed` wrote."""
    n, _, rest = text.partition(":")
    return np.unpackbits(np.frombuffer(bytes.fromhex(rest), np.uint8), count=int(n)).astype(bool)


def results_in(path: Path) -> list[Result]:
    """All results of a study."""
    return [Result(**result) for result in json.loads(path.read_text())["results"]]
