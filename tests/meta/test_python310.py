"""What runs on a device runs on Python 3.10, which JetPack 6 has (docs/adr/0010)."""

import ast
from pathlib import Path

import pytest

from tests.meta.test_imports import DEVICE_ROOMS, REPOSITORY

NEWER = {
    "asyncio": {"Barrier", "Runner", "TaskGroup", "timeout", "timeout_at"},
    "builtins": {"BaseExceptionGroup", "ExceptionGroup", "PythonFinalizationError"},
    "calendar": {"Day", "Month"},
    "contextlib": {"chdir"},
    "copy": {"replace"},
    "datetime": {"UTC"},
    "enum": {
        *("EnumCheck", "FlagBoundary", "ReprEnum", "StrEnum", "EnumType"),
        *("global_enum", "member", "nonmember", "property", "show_flag_values", "verify"),
    },
    "hashlib": {"file_digest"},
    "http": {"HTTPMethod"},
    "inspect": {"getasyncgenlocals", "getasyncgenstate", "getmembers_static", "markcoroutinefunction"},
    "itertools": {"batched"},
    "logging": {"getHandlerByName", "getHandlerNames", "getLevelNamesMapping"},
    "math": {"cbrt", "exp2", "fma", "sumprod"},
    "operator": {"call", "is_none", "is_not_none"},
    "os": {"process_cpu_count"},
    "pathlib": {"UnsupportedOperation"},
    "random": {"binomialvariate"},
    "re": {"NOFLAG"},
    "string": {"templatelib"},
    "sys": {"activate_stack_trampoline", "exception", "monitoring", "set_int_max_str_digits"},
    "types": {"CapsuleType", "get_original_bases"},
    "typing": {
        *("LiteralString", "Never", "NotRequired", "ReadOnly", "Required", "Self", "TypeAliasType", "TypeIs"),
        *("TypeVarTuple", "Unpack", "assert_never", "assert_type", "clear_overloads", "dataclass_transform"),
        *("get_overloads", "get_protocol_members", "is_protocol", "override", "reveal_type"),
    },
}
"""By module, the public names that came with 3.11 or later. Source: the "What's New" pages of 3.11 to 3.14."""
NEWER_MODULES = {"annotationlib", "compression", "concurrent.interpreters", "tomllib", "wsgiref.types"}


def _device_modules() -> list[Path]:
    folders = [REPOSITORY / "edgerkd" / room for room in DEVICE_ROOMS] + [REPOSITORY / "exporters"]
    own = [REPOSITORY / "edgerkd" / name for name in ("__init__.py", "__main__.py")]
    return own + [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def newer_than_3_10(source: str) -> list[str]:
    """What a module needs beyond Python 3.10's library, line by line; what stands under a guard is left out."""
    tree = ast.parse(source)
    guarded = {id(inner) for node in ast.walk(tree) if _is_guard(node) for inner in ast.walk(node)}
    found: list[str] = []
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        needs: list[str] = []
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
            needs = [alias.name for alias in node.names if alias.name in NEWER_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            expected = NEWER.get(module, set())
            needs = [f"{module}.{alias.name}" for alias in node.names if alias.name in expected]
            needs += [module] if module in NEWER_MODULES else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id, "")
            needs = [f"{module}.{node.attr}"] if node.attr in NEWER.get(module, set()) else []
        elif isinstance(node, ast.Name) and node.id in NEWER["builtins"]:
            needs = [node.id]
        found += [f"line {node.lineno}: {name}" for name in needs]
    return found


def _is_guard(node: ast.AST) -> bool:
    """`if sys.version_info ...`, `if TYPE_CHECKING`, or `try ... except ImportError`."""
    if isinstance(node, ast.If):
        return any(word in ast.unparse(node.test) for word in ("version_info", "TYPE_CHECKING"))
    if isinstance(node, ast.Try):
        caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type is not None)
        return "ImportError" in caught or "ModuleNotFoundError" in caught
    return False


@pytest.mark.parametrize("path", _device_modules(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_device_module_suits_python_3_10(path: Path) -> None:
    """Catches what ruff and pyright would let through where their target version is changed."""
    source = path.read_text()
    ast.parse(source, feature_version=(3, 10))
    assert newer_than_3_10(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import tomllib",
        "from typing import Self",
        "import enum\nclass A(enum.StrEnum): ...",
        "import datetime as d\nd.UTC",
        "raise ExceptionGroup('', [])",
    ],
)
def test_the_check_would_notice_a_newer_library(source: str) -> None:
    """Catches a check under which everything passes."""
    assert newer_than_3_10(source)


@pytest.mark.parametrize("source", ["try:\n    pass\nexcept* OSError:\n    pass"])
def test_the_check_would_notice_a_newer_syntax(source: str) -> None:
    """Catches a feature version that is not looked at."""
    with pytest.raises(SyntaxError):
        ast.parse(source, feature_version=(3, 10))


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nif sys.version_info >= (3, 11):\n    import tomllib\nelse:\n    import tomli as tomllib",
        "try:\n    import tomllib\nexcept ModuleNotFoundError:\n    import tomli as tomllib",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from typing import Self",
        "import math\nmath.sqrt(2)",
    ],
)
def test_the_check_lets_a_guard_be(source: str) -> None:
    """Catches a check that refuses the very guard it asks for."""
    assert newer_than_3_10(source) == []
