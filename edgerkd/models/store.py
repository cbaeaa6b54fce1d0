"""A network on disk: `architecture.json` in one folder with `weights.safetensors`, or with `model.onnx` for a graph."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ArtefactError
from edgerkd.core.text import printable
from edgerkd.files.atomic import folder_atomic, recover, write_atomic
from edgerkd.files.damage import DAMAGE
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import GRAPH_LIMIT, check_file, read_file, shown
from edgerkd.models.build import build
from edgerkd.models.graph_network import GraphNetwork
from edgerkd.models.network import Network

WEIGHTS_LIMIT = 16 << 30  # bytes; ours: the largest public classifiers have 8 GB
WEIGHTS = "weights.safetensors"
GRAPH = "model.onnx"
ARCHITECTURE = "architecture.json"


def weights_file(architecture: Architecture) -> str:
    """The name of the file that holds the weights of such a network."""
    return GRAPH if architecture.family == "graph" else WEIGHTS


def save_network(network: Network, folder: Path, beside: Mapping[str, str] | None = None) -> None:
    """Write the network into `folder`, with text files `beside` it; what was there goes once all is written."""
    with folder_atomic(folder) as new:
        write_atomic(new / ARCHITECTURE, encode_json(network.architecture))
        write_atomic(new / weights_file(network.architecture), weights_bytes(network))
        for name, text in (beside or {}).items():
            write_atomic(new / name, text)


def weights_bytes(network: Network) -> bytes:
    """The weights as a safetensors file; of a graph the graph itself."""
    if isinstance(network, GraphNetwork):
        return network.graph
    return save({name: value.contiguous().cpu() for name, value in network.state_dict().items()})


def load_network(folder: Path) -> Network:
    """The network in `folder`, in evaluation mode.

    Raises ArtefactError for missing, damaged or non-finite weights, naming the file and the weight. Nothing in the
    files is executed.
    """
    recover(folder)
    architecture = decode_json(Architecture, folder / ARCHITECTURE)
    if architecture.family == "graph":
        return _read_graph(architecture, folder / GRAPH)
    network = build(architecture)
    fill(network, read_safetensors(folder / WEIGHTS), folder / WEIGHTS)
    return network.eval()


def _read_graph(architecture: Architecture, path: Path) -> GraphNetwork:
    content = read_file(path, limit=GRAPH_LIMIT, error=ArtefactError)
    try:
        return GraphNetwork(architecture, content).eval()
    except ArtefactError as e:
        raise ArtefactError(f"{shown(path)}: {e}") from e


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises ArtefactError for a missing or damaged one."""
    check_file(path, limit=WEIGHTS_LIMIT, error=ArtefactError)
    try:
        return load_file(path)
    except (SafetensorError, *DAMAGE) as e:
        raise ArtefactError(f"{shown(path)}: not a readable safetensors file: {printable(str(e), 200)}") from e


def fill(network: Network, state: Mapping[str, torch.Tensor], source: Path) -> None:
    """Load `state` into the network. Raises ArtefactError as `check_state` does."""
    check_state(network, state, source)
    network.load_state_dict(state)


def check_state(network: Network, state: Mapping[str, torch.Tensor], source: Path) -> None:
    """Raises ArtefactError for wrong names, wrong shapes and non-finite values; the network may hold no memory."""
    own = network.state_dict()
    problems = [f"{name}: missing" for name in own.keys() - state.keys()]
    problems += [f"{name}: unknown" for name in state.keys() - own.keys()]
    for name in own.keys() & state.keys():
        if own[name].shape != state[name].shape:
            problems.append(f"{name}: shape {tuple(state[name].shape)}, expected {tuple(own[name].shape)}")
        elif not torch.isfinite(state[name]).all():
            problems.append(f"{name}: holds NaN or infinite values")
    if problems:
        shown = "; ".join(sorted(problems)[:5])
        raise ArtefactError(f"{source}: does not fit {network.architecture}: {len(problems)} problems: {shown}")
