"""Which packages may be loaded where. The contracts between our own rooms are in pyproject.toml (`make arch`)."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HOST_PACKAGES = ("torch", "torchvision", "sklearn", "safetensors", "onnx")
DEVICE_ROOMS = ("core", "files", "attacks", "bundle", "verify", "report", "cli")


def _modules(folder: Path, root: Path) -> list[str]:
    files = sorted(folder.rglob("*.py"))
    return [".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files]


def _import_without_host_packages(modules: list[str]) -> str:
    """What fails, one line a module. One process for all, in which the host's packages cannot be imported."""
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({HOST_PACKAGES!r}))
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except ImportError as e:
        print(module, "|", e)
"""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("room", DEVICE_ROOMS)
def test_device_rooms_import_without_the_host_packages(room: str) -> None:
    """Catches an import at module level that a device cannot satisfy."""
    modules = _modules(REPOSITORY / "edgerkd" / room, REPOSITORY)
    assert modules
    assert _import_without_host_packages(modules) == ""


def test_exporters_import_without_the_host_packages() -> None:
    exporters = REPOSITORY / "exporters"
    assert _import_without_host_packages(_modules(exporters, exporters)) == ""


def test_the_import_test_would_notice() -> None:
    """Catches a harness under which everything imports."""
    assert "edgerkd.models.network | " in _import_without_host_packages(["edgerkd.models.network"])


def test_command_line_starts_without_loading_anything_heavy() -> None:
    """Catches a slow `edgerkd --help`."""
    heavy = (*HOST_PACKAGES, "numpy", "onnxruntime", "pydantic")
    code = f"import sys, edgerkd.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_core_imports_with_the_standard_library_alone() -> None:
    """Catches a third-party package that core needs. Without site (-S) there are none."""
    modules = _modules(REPOSITORY / "edgerkd" / "core", REPOSITORY)
    code = "import importlib, sys; sys.path.append(sys.argv[1]); [importlib.import_module(m) for m in sys.argv[2:]]"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(REPOSITORY), *modules], check=True)
