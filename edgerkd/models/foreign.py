"""A torch module that somebody else wrote -> an ONNX graph."""

import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgerkd.core.architecture import LIBRARIES
from edgerkd.core.errors import ArtefactError, ConfigError, ExportError, problems_text
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.paths import check_file, shown
from edgerkd.models.library import library_module
from edgerkd.models.onnx_graph import OPSET, onnx_from_module
from edgerkd.models.store import WEIGHTS_LIMIT
from edgerkd.models.teacher_file import read_state_dict

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_WRAPPERS = ("module.", "model.", "net.", "network.", "_orig_mod.", "ema.")
"""Prefixes that data-parallel, compiled and training wrappers put before every name."""
_COUNTER = "num_batches_tracked"


def onnx_from_source(
    source: str,
    weights: Path | None,
    image_shape: tuple[int, int, int],
    *,
    classes: int | None = None,
    opset: int = OPSET,
) -> bytes:
    """The network that `source` names as ONNX, `images` float32 (batch, c, h, w) to `logits`, in evaluation mode.

    `source` is `package.module:factory` (a module, its class, or what makes it without arguments; the current folder is
    searched as well), `torchvision:NAME` or `timm:NAME`, a TorchScript file, or an exported program (.pt2). `weights`
    is a safetensors file or a state dict, for the first three; `classes` is how many outputs a library's network is
    made with where its weights do not tell. Code that `source` names is run. Raises ConfigError for what cannot be
    found or does not fit, ArtefactError for damaged files, ExportError for what ONNX does not have.
    """
    name = printable(source, LONGEST_NAME)
    if source.startswith(LIBRARIES):
        state = None if weights is None else read_state_dict(weights)
        module = library_module(source, _outputs(state) if state else classes or 1000)
        if state is not None and weights is not None:
            _fill(module, state, weights, name)
    elif Path(source).suffix in (".pt", ".pth", ".ts", ".torchscript", ".pt2"):
        if weights is not None:
            raise ConfigError(f"{name} holds its weights itself: leave out --weights {shown(weights)}")
        module = _load_program(Path(source))
    else:
        module = _made(source)
        if weights is not None:
            _fill(module, read_state_dict(weights), weights, name)
    return _exported(module, image_shape, opset, name)


def _outputs(state: Mapping[str, Tensor]) -> int:
    """How many outputs the last linear map or convolution has. That it stands last in the file is ours to assume."""
    return next((len(value) for value in reversed(list(state.values())) if value.ndim > 1), 1000)


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """As with `python -m`. What the code imports later is found only if it was imported before."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _made(source: str) -> nn.Module:
    name = printable(source, LONGEST_NAME)
    if _FACTORY.fullmatch(source) is None:
        raise ConfigError(
            f"{name!r} names no network: write package.module:factory, torchvision:NAME, timm:NAME, or a "
            "TorchScript (.pt) or exported (.pt2) file"
        )
    package, _, attribute = source.partition(":")
    with _current_folder_importable():
        try:
            found: Any = importlib.import_module(package)  # Any: the user's own
        except ModuleNotFoundError as e:
            raise ConfigError(
                f"--from {name}: there is no module {printable(str(e.name), LONGEST_NAME)!r}: run edgerkd from the "
                "folder that it is in, or install it"
            ) from e
        except Exception as e:
            raise ConfigError(f"--from {name}: importing {package} failed: {_reason(e)}") from e
        for part in attribute.split("."):
            if not hasattr(found, part):
                known = ", ".join(sorted(name for name in vars(found) if not name.startswith("_"))[:20])
                raise ConfigError(f"--from {name}: there is no {part!r}: there are {printable(known) or 'no names'}")
            found = getattr(found, part)
        return _module_of(found, name)


def _module_of(found: Any, name: str) -> nn.Module:  # Any: the user's own
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ConfigError(f"--from {name} is {_kind(found)}: expected a torch module, or what makes one")
    try:
        made = found()
    except Exception as e:
        raise ConfigError(f"--from {name} failed; it is called without arguments: {_reason(e)}") from e
    if not isinstance(made, nn.Module):
        raise ConfigError(f"--from {name} makes {_kind(made)}: expected a torch module (torch.nn.Module)")
    return made


def _kind(found: object) -> str:
    return f"an object of type {printable(type(found).__name__, LONGEST_NAME)}"


def _reason(e: Exception) -> str:
    return printable(f"{type(e).__name__}: {' '.join(str(e).split())}", LONGEST_NAME)


class _Program(nn.Module):
    """An exported program, which stays in the mode that it was exported in: it refuses to be set to another."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self._hidden = (program.float().cpu().requires_grad_(False),)  # in a tuple, it is not seen as a part of this

    def forward(self, images: Tensor) -> Tensor:
        return self._hidden[0](images)


def _load_program(path: Path) -> nn.Module:
    check_file(path, limit=WEIGHTS_LIMIT)
    exported = path.suffix == ".pt2"
    load: Callable[..., Any] = torch.export.load if exported else torch.jit.load
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own formats
            return _Program(load(path).module()) if exported else load(path, map_location="cpu")
    except Exception as e:  # torch raises what the damage happens to cause
        fix = "torch.export.save(program, ...)" if exported else "torch.jit.save(torch.jit.trace(model, images), ...)"
        raise ArtefactError(
            f"{shown(path)}: no {'exported program' if exported else 'TorchScript program'}, or damaged: expected what "
            f"`{fix}` writes; weights alone are given by --weights, beside --from package.module:factory"
        ) from e


def _fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Load the weights strictly. Raises ConfigError with all that are missing, unknown or of another shape."""
    own = module.state_dict()
    given = _without_wrappers(state, own)
    given |= {key: value for key, value in own.items() if key.endswith(_COUNTER) and key not in given}
    problems = [f"{printable(key, LONGEST_NAME)}: missing" for key in own if key not in given]
    problems += [f"{printable(key, LONGEST_NAME)}: unknown" for key in given if key not in own]
    problems += [
        f"{printable(key, LONGEST_NAME)}: shape {tuple(value.shape)}, expected {tuple(own[key].shape)}"
        for key, value in given.items()
        if key in own and own[key].shape != value.shape
    ]
    if problems:
        raise ConfigError(problems_text(f"{shown(path)} does not fit {name}", problems[:20], of=len(problems)))
    module.load_state_dict(given)


def _without_wrappers(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the module's own names, if all that keeps them apart are prefixes of wrappers.

    What stands beside them without the prefix, such as a wrapper's own mean and deviation, stays, to be refused.
    """
    found = dict(state)
    while not own.keys() & found.keys():
        prefix = next((p for p in _WRAPPERS if any(key.startswith(p) for key in found)), None)
        if prefix is None:
            return dict(state)
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


def _exported(module: nn.Module, image_shape: tuple[int, int, int], opset: int, name: str) -> bytes:
    """For any batch; for one image at a time where the module takes no other number: graphs/adopt.py frees that."""
    module = module.eval().float().cpu()
    try:
        return onnx_from_module(module, torch.zeros(2, *image_shape), opset=opset)
    except Exception as e:  # noqa: BLE001  the module's own errors, and the exporter's, which have no common base
        several = e
    try:
        return onnx_from_module(module, torch.zeros(1, *image_shape), opset=opset, dynamic=False)
    except Exception as e:
        shape = " x ".join(map(str, image_shape))
        raise ExportError(
            f"{name}: cannot be written as ONNX at opset {opset} for images of {shape}: {_reason(several)}"
        ) from e
