"""Torch modules of other people's, as ONNX graphs."""

import importlib.util
import sys

import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import save_file

from edgerkd.core.errors import ArtefactError, ConfigError, ExportError
from edgerkd.graphs.adopt import adopt
from edgerkd.models.foreign import onnx_from_source

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))

def fails():
    raise RuntimeError("no weights here")

def needs(width):
    return Net()

def number():
    return 7

class Fft(nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x.flatten(2))[:, 0]

made = Net()
title = "a network"
"""
SHAPE = (3, 8, 8)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module in the current folder, importable by no other test."""
    name = f"theirs_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def net(package):
    """The network with weights of its own, in evaluation mode, as another process would have made it."""
    spec = importlib.util.spec_from_file_location("written", f"{package}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Net()
    torch.manual_seed(1)
    for value in made.state_dict().values():
        value.copy_(torch.rand_like(value.float()) + 0.5)
    return made.eval()


def check(graph: bytes, module, n=3):
    """The adopted graph answers as the module does."""
    images = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))
    live = onnxruntime.InferenceSession(adopt(graph).graph, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        assert_allclose(live.run(None, {"images": images.numpy()})[0], module(images).numpy(), rtol=1e-4, atol=1e-5)


WRAPPINGS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state},
    "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {"state_dict": {f"model._orig_mod.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_factory_with_a_file_of_weights(package, tmp_path, wrapping):
    """Catches weights left at random, training mode, and names of a wrapper that are not taken off."""
    module = net(package)
    torch.save(WRAPPINGS[wrapping](module.state_dict()), tmp_path / "w.pth")
    path = list(sys.path)
    check(onnx_from_source(f"{package}:Net", tmp_path / "w.pth", SHAPE), module)
    assert sys.path == path


@pytest.mark.parametrize("beside", ["mean", "ema.extra", "module.extra"])
def test_what_stands_beside_a_wrappers_weights_is_refused_and_not_dropped(package, tmp_path, beside):
    """Catches a wrapper's own normalization, or a second network, that is left out without a word."""
    state = {f"net.{key}": value for key, value in net(package).state_dict().items()}
    torch.save({**state, beside: torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=rf"{beside.split('.')[-1]}: unknown"):
        onnx_from_source(f"{package}:Net", tmp_path / "w.pth", SHAPE)


def test_an_instance_with_safetensors_without_counters(package, tmp_path):
    """Catches a module that is called as if it were a factory, and old files, without counters, refused."""
    module = net(package)
    state = {key: value for key, value in module.state_dict().items() if "num_batches" not in key}
    save_file(state, tmp_path / "w.safetensors")
    check(onnx_from_source(f"{package}:made", tmp_path / "w.safetensors", SHAPE), module)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("how", ["traced", "traced-for-one", "scripted", "exported", "exported-for-any"])
def test_a_program_in_a_file(package, tmp_path, how):
    """Catches a program that takes one image alone refused, and one exported as another."""
    module = net(package)
    if how.startswith("exported"):
        sizes = {"x": {0: torch.export.Dim("n")}} if how == "exported-for-any" else None
        program = torch.export.export(module, (torch.zeros(3 if sizes else 1, *SHAPE),), dynamic_shapes=sizes)
        path = tmp_path / "net.pt2"
        torch.export.save(program, path)
    else:
        path = tmp_path / "net.pt"
        images = torch.zeros(1 if how == "traced-for-one" else 2, *SHAPE)
        whole = torch.jit.script(module) if how == "scripted" else torch.jit.trace(module, images)
        torch.jit.save(whole, path)
    check(onnx_from_source(str(path), None, SHAPE), module)


def test_a_librarys_network_with_a_file_of_weights_of_other_classes(tmp_path):
    """Catches a head of 1000 classes for weights of 7."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    module = get_model("squeezenet1_1", weights=None, num_classes=7).eval()
    torch.save(module.state_dict(), tmp_path / "w.pth")
    graph = onnx_from_source("torchvision:squeezenet1_1", tmp_path / "w.pth", (3, 32, 32))
    found = adopt(graph)
    images = torch.rand(2, 3, 32, 32)
    live = onnxruntime.InferenceSession(found.graph, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        assert_allclose(live.run(None, {"images": images.numpy()})[0], module(images), rtol=1e-3, atol=1e-5)
    assert found.classes == 7


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("{package}:fails", ConfigError, "fails failed; it is called without arguments: RuntimeError: no weights here"),
        ("{package}:needs", ConfigError, "called without arguments: TypeError"),
        ("{package}:number", ConfigError, "makes an object of type int: expected a torch module"),
        ("{package}:title", ConfigError, "title is an object of type str: expected a torch module"),
        ("{package}:Nett", ConfigError, "there is no 'Nett': there are Fft, Net, fails"),
        ("no_such_package_here:Net", ConfigError, "no module 'no_such_package_here'"),
        ("{package}:Fft", ExportError, "Fft: cannot be written as ONNX at opset 17 for images of 3 x 8 x 8"),
        ("Net", ConfigError, "names no network: write package.module:factory"),
        ("torchvision:resnet19", ConfigError, "no network of torchvision's named 'resnet19'.*resnet18"),
        ("absent.pt", ConfigError, "absent.pt"),
        ("damaged.pt", ArtefactError, "damaged.pt: no TorchScript program, or damaged"),
        ("damaged.pt2", ArtefactError, "damaged.pt2: no exported program, or damaged"),
        ("state.pt", ArtefactError, "weights alone are given by --weights"),
    ],
)
def test_what_is_no_network_is_refused_in_one_sentence(package, tmp_path, source, error, message):
    """Catches a traceback of the user's own code or of torch's."""
    for name in ("damaged.pt", "damaged.pt2"):
        (tmp_path / name).write_bytes(b"PK" + bytes(100))
    torch.save({"a": torch.zeros(2)}, tmp_path / "state.pt")
    with pytest.raises(error, match=message):
        onnx_from_source(source.format(package=package), None, SHAPE)


def test_weights_that_do_not_fit_are_named_all_at_once(package, tmp_path):
    """Catches strict=False, and an error that names one weight at a time."""
    state = net(package).state_dict()
    state["odd"] = state.pop("head.bias")
    state["conv.weight"] = torch.zeros(4, 3, 5, 5)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ConfigError) as refusal:
        onnx_from_source(f"{package}:Net", tmp_path / "w.pth", SHAPE)
    shapes = "conv.weight: shape (4, 3, 5, 5), expected (4, 3, 3, 3)"
    for text in ("3 problems", "head.bias: missing", "odd: unknown", shapes):
        assert text in str(refusal.value)
