"""Packages that are missing or broken, told from our own bugs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = {
    "torchvision beside another torch": (
        "torchvision",
        "raise RuntimeError('operator torchvision::nms does not exist')",
    ),
    "a library of CUDA that is missing": (
        "torch",
        "raise ImportError('libcudart.so.13: cannot open shared object file')",
    ),
    "a module of its own that is missing": ("onnx", "import onnx_that_is_not_there"),
    "built for another NumPy": (
        "sklearn",
        "raise ValueError('numpy.dtype size changed, may indicate incompatibility')",
    ),
    "a syntax of a newer Python": ("safetensors", "def f(: pass"),
    "an attribute that is gone": ("torch", "import os; os.no_such_name"),
    "an import that exits": ("torch", "import sys; sys.exit(1)"),
}
"""Ways in which a package that is installed cannot be imported."""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "edgerkd", *arguments]
    return subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)


SLOW = ("a module of its own that is missing", "built for another NumPy", "a syntax of a newer Python")


@pytest.mark.parametrize(
    ("package", "code"),
    [pytest.param(*row, marks=pytest.mark.slow if name in SLOW else ()) for name, row in BROKEN.items()],
    ids=BROKEN,
)
def test_a_package_that_is_installed_but_broken_is_named_with_its_version(package, code, tmp_path):
    """Catches `not installed` for what is installed, `a bug in edgerkd` for somebody else's, and exit code 1."""
    folder = tmp_path / "site-packages"
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)
    data = "cifar10" if package == "torchvision" else "digits"  # each is imported where it is needed
    done = run(folder, "distill", "--epochs", "1", "--method", "standard", "--data", data)
    assert done.returncode == 4, done.stderr
    assert "bug in edgerkd" not in done.stderr
    assert "Traceback" not in done.stderr
    if "exit" in code:  # whoever ends the process says nothing of why
        return
    assert "is installed but cannot be imported" in done.stderr
    assert package in done.stderr
    extra = "onnx" if package == "onnx" else "host"
    assert f"pip install --force-reinstall 'edgerkd[{extra}]'" in done.stderr
    if package == "torchvision":
        assert "It is installed with torch " in done.stderr


WITHOUT_TORCH = """
import sys
import importlib.util as util

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from edgerkd.__main__ import main
main()
"""


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(tmp_path):
    """Catches a traceback on a device, where torch is missing on purpose."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "distill"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "This needs torch, which is not installed: pip install 'edgerkd[host]'" in done.stderr
    assert "Traceback" not in done.stderr
