"""Training's figures as event files for TensorBoard, where that is installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from edgerkd.core.epoch import Epoch


@contextmanager
def event_writer(folder: Path) -> Iterator[Callable[[Epoch], None]]:
    """Writes each epoch's numbers to an event file in `folder`; without TensorBoard it writes nothing.

    The first epoch written hides those that a stopped run wrote from there on.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda epoch: None
        return
    writer: SummaryWriter | None = None

    def write(epoch: Epoch) -> None:
        nonlocal writer
        writer = writer or SummaryWriter(folder, purge_step=epoch.epoch)
        facts = asdict(epoch)
        terms = {f"terms/{name}": value for name, value in facts.pop("terms").items()}
        for name, value in {**terms, **facts}.items():
            if name != "epoch" and value is not None:
                writer.add_scalar(name, value, epoch.epoch)
        writer.flush()

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
