"""Event files for TensorBoard."""

import itertools
import sys
import time
from dataclasses import replace

import pytest

from edgerkd.core.epoch import Epoch
from edgerkd.jobs.events import event_writer

EPOCH = Epoch(
    epoch=1,
    terms={"ce": 2.5},
    val_clean_acc=0.5,
    val_robust_acc=0.25,
    lr=0.1,
    seconds=3.0,
    images_per_second=100.0,
)


def test_every_number_of_an_epoch_can_be_read_back_at_its_step(tmp_path, monkeypatch):
    """Catches a file that TensorBoard cannot read, a lost term, and the epochs of a stopped run shown twice."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    seconds = itertools.count(int(time.time()))  # the files are read in the order of the seconds in their names
    monkeypatch.setattr(time, "time", lambda: float(next(seconds)))
    with event_writer(tmp_path) as write:
        for number in (1, 2):
            write(replace(EPOCH, epoch=number))
    with event_writer(tmp_path) as write:
        write(replace(EPOCH, epoch=2, val_clean_acc=0.75))
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "terms/ce",
        "val_clean_acc",
        "val_robust_acc",
        "lr",
        "seconds",
        "images_per_second",
    }
    assert [(event.step, event.value) for event in events.Scalars("val_clean_acc")] == [(1, 0.5), (2, 0.75)]
    assert [event.value for event in events.Scalars("terms/ce")] == [2.5, 2.5]


def test_without_tensorboard_nothing_is_written_and_nothing_fails(tmp_path, monkeypatch):
    """Catches a run that stops because of a package it does not need."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with event_writer(tmp_path) as write:
        write(EPOCH)
    assert not list(tmp_path.iterdir())
