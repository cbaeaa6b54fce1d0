"""A run that was stopped, on disk: everything needed to go on as if it had not been."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgerkd.core.errors import ArtefactError
from edgerkd.core.recipe import Recipe
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import encode_json
from edgerkd.files.paths import check_file

SCHEMA = 5

State = dict[str, Any]  # Any: what torch's own state_dicts hold


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """The state after `epoch` whole epochs and a part of the next one."""

    epoch: int
    states: dict[str, State]
    generator: torch.Tensor
    noise: str


def save_checkpoint(path: Path, checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Write atomically, so that an interrupt leaves the previous checkpoint."""
    buffer = io.BytesIO()
    torch.save(
        {
            "schema": SCHEMA,
            "recipe": encode_json(recipe),
            "epoch": checkpoint.epoch,
            "states": checkpoint.states,
            "generator": checkpoint.generator,
            "noise": checkpoint.noise,
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, recipe: Recipe) -> Checkpoint:
    """Raises ArtefactError where the file is damaged, of another schema, or of another recipe."""
    check_file(path, error=ArtefactError)
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch.load raises what the damage happens to cause, and advises to load it unsafely
        raise ArtefactError(f"{path}: not a readable checkpoint ({type(e).__name__})") from e
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ArtefactError(f"{path}: a checkpoint of another schema")
    if data["recipe"] != encode_json(recipe):
        raise ArtefactError(f"{path}: made with another recipe than the run's")
    return Checkpoint(epoch=data["epoch"], states=data["states"], generator=data["generator"], noise=data["noise"])


def noise_state(generator: np.random.Generator) -> str:
    """A NumPy generator's state as text."""
    return json.dumps(generator.bit_generator.state)


def restore_noise(generator: np.random.Generator, state: str) -> None:
    """Put a NumPy generator back into a state from `noise_state`."""
    generator.bit_generator.state = json.loads(state)
