"""What the benchmarks that train or attack have in common: the robust network, and how a step is timed."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from edgerkd.core.data_request import DataRequest
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Dataset
from edgerkd.jobs.data import open_data
from edgerkd.jobs.teachers import find_teacher
from edgerkd.models.network import Network
from edgerkd.models.teacher_file import network_from_state, read_state_dict


def opened(source: str) -> tuple[Dataset, ThreatModel]:
    """The data that `--data` names, with their customary radius."""
    return open_data(DataRequest(source=source), eps=None, progress=Silent())


def robust_network(
    data: Dataset, threat_model: ThreatModel, *, name: str | None = None, weights: Path | None = None
) -> Network:
    """The network in a file that `teacher import` takes, else the teacher of that name, else the digits' own."""
    if weights is None:
        return find_teacher(name, data, threat_model, progress=Silent())[0]
    moments = torch.tensor(data.mean), torch.tensor(data.std)
    state = read_state_dict(weights)
    return network_from_state(state, weights, image_shape=data.test.image_shape, moments=moments)


def timed(step: Callable[[], object]) -> float:
    """Seconds of one step, a GPU's own work included."""
    started = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def clock() -> float:
    """Seconds: of this process's own where torch has one thread, so that other work on the machine is left out.

    What other work costs by sharing caches and memory stays in. With several threads, or a GPU, it is the wall clock's.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds_of(step: Callable[[], object]) -> float:
    """Seconds of one step by `clock`."""
    started = clock()
    step()
    return clock() - started
