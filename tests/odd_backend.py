"""A backend whose engines misbehave: a plug-in, for engines live in a process that no test can reach into."""

from pathlib import Path

import pytest

MODULE = """
import os, signal
import numpy as np
from edgerkd_exporters.onnx import OnnxBackend

HOW = "{how}"

class Live:
    def __init__(self, live, attacked=False):
        self.live, self.held, self.attacked = live, [], attacked
        if HOW == "holds 64 MB":
            self.held.append(np.ones(8 << 20))

    def __getattr__(self, name):
        return getattr(self.live, name)

    def __call__(self, *inputs):
        outputs = self.live(*inputs)
        if len(inputs) > 1:  # the twin
            return outputs
        if HOW == "hangs":
            signal.pause()
        if HOW == "takes memory":
            self.held += [np.ones(1 << 22) for _ in range(64)]
        if HOW == "takes 64 MB for a moment":
            np.ones(8 << 20)
        if HOW == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if HOW == "ends":
            os._exit(3)
        if HOW == "raises":
            raise ZeroDivisionError("by zero")
        if HOW == "answers too much":
            return (np.zeros(80 << 20, np.float32),)
        if HOW == "answers in float64":
            return (outputs[0].astype(np.float64),)
        if HOW == "is another one for attacks" and self.attacked:
            return (outputs[0] + np.eye(outputs[0].shape[1], dtype=np.float32)[0] / 2,)
        if HOW == "is another one for single images" and len(inputs[0]) == 1:
            return (outputs[0] + 1,)
        return outputs

class Backend(OnnxBackend):
    name = "odd"

    def open(self, engine):
        if HOW == "hangs when opened":
            signal.pause()
        return Live(super().open(engine))

    if HOW == "lies on a GPU":
        free = [1 << 30, 3 << 28]

        def free_bytes(self):
            return self.free.pop(0) if len(self.free) > 1 else self.free[0]

    if HOW == "is another one for attacks":

        def open_for_attacks(self, engine):
            return Live(super().open(engine), attacked=True)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Backend `odd`, which `how` says."""
    (folder / "odd-1.dist-info").mkdir(parents=True)
    (folder / "odd-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (folder / "odd-1.dist-info" / "entry_points.txt").write_text("[edgerkd.backends]\nodd = odd_engines:Backend\n")
    (folder / "odd_engines.py").write_text(MODULE.replace("{how}", how))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(__import__("sys").modules, "odd_engines", raising=False)
