"""`edgerkd demo`: every step on the embedded digits, with a standard-trained student beside ours."""

import subprocess
import sys

import torch

from edgerkd.core.data_request import DataRequest
from edgerkd.core.errors import EngineError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.verification import VerifyReport
from edgerkd.distill.methods.recipes import with_method
from edgerkd.distill.methods.registry import UNDEFENDED
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.profiles import load_profile
from edgerkd.jobs.data import open_data, reopen_data
from edgerkd.jobs.distill import evaluated, start
from edgerkd.jobs.export import Exported, export
from edgerkd.jobs.teachers import fitting_teachers, train_teacher
from edgerkd.models.build import build
from edgerkd.models.hardware import one_thread

VERDICTS = (0, 1, 7, 8)  # verify's exit codes that come with a verdict
DIGITS = DataRequest(source="digits")
EPOCHS, STEPS = 20, 3
"""Of the teacher's training, and of its inner attack. Ours: 40 % of the time of 30 epochs of ten steps, for a student
that is as robust within the noise of three seeds (docs/measured/start-up.md)."""


@one_thread()
def demo(*, profile_name: str, seed: int, progress: Progress) -> tuple[RunFolder, VerifyReport, Exported]:
    """Distill, export and verify on the digits; returns the run, its verdict, and what was exported.

    `verify` runs as its own process, which never imports torch, just as on a device.
    Raises EngineError where that process ends without a verdict.
    """
    profile = load_profile(profile_name)
    teach(progress=progress)
    run, _ = start(
        profile,
        request=DIGITS,
        teacher=None,
        method=None,
        epochs=None,
        eps=None,
        seed=seed,
        folder=None,
        progress=progress,
    )
    write_atomic(run.baseline, encode_json(standard_student(decode_json(RunRecord, run.recipe), progress=progress)))
    exported = export(run, format="trt", progress=progress)
    with progress.stage("verify: attacking the engine, without torch", 0):
        command = [sys.executable, "-m", "edgerkd", "verify", str(run.bundle), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in VERDICTS:
        raise EngineError(f"`edgerkd verify {run.bundle}` ended with {done.returncode}: {done.stderr.strip()}")
    return run, decode_json(VerifyReport, run.verification(exported.bundle.key)), exported


def teach(*, progress: Progress) -> None:
    """Train a teacher of the digits and keep it, where none is kept."""
    dataset, threat_model = open_data(DIGITS, eps=None, progress=progress)
    if not fitting_teachers(dataset, threat_model):
        train_teacher(dataset, threat_model, progress=progress, epochs=EPOCHS, attack_steps=STEPS)


def standard_student(record: RunRecord, *, progress: Progress) -> Evaluation:
    """The same architecture, data and epochs, trained the standard way and attacked in the same way."""
    dataset = reopen_data(record.request, record.data.sha256, "the demo's run", progress=progress)
    recipe = with_method(record.recipe, UNDEFENDED)
    torch.manual_seed(recipe.seed)
    network = train(
        build(record.architecture),
        dataset,
        recipe,
        teacher=None,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=progress,
    ).network
    return evaluated(network, recipe.method, dataset, recipe, progress)
