"""What each published version of TensorRT's Python binding has: tests/exporters/surfaces/VERSION.json.

    python tests/exporters/make_surfaces.py FOLDER/WITH/*bindings*.whl

The binding's wheel holds no library: libnvinfer and the parser are replaced by empty ones (gcc makes them), which is
enough to import it and to list its classes. Nothing of NVIDIA's is kept but names and signatures. Wheels on the
standard index: `tensorrt-bindings` 8.6.1, `tensorrt-cu12-bindings` 10.3.0, `tensorrt-cu13-bindings` 10.13 to 11.4, for
this Python.
"""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

STUBS = """
static char none[4096];
#define GIVES(name) void *name(void) { return none; }
GIVES(getNvOnnxParserVersion) GIVES(createNvOnnxParser_INTERNAL) GIVES(createNvOnnxParserRefitter_INTERNAL)
GIVES(getBuilderPluginRegistry) GIVES(getPluginRegistry) GIVES(initLibNvInferPlugins)
GIVES(createInferBuilder_INTERNAL) GIVES(createInferRuntime_INTERNAL) GIVES(createInferRefitter_INTERNAL)
GIVES(_ZN14nvcaffeparser117createCaffeParserEv) GIVES(_ZN14nvcaffeparser123shutdownProtobufLibraryEv)
GIVES(_ZN11nvuffparser15createUffParserEv) GIVES(_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi)
"""
CLASSES = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "EngineInspector",
    "ErrorCode",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "ILayer",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "LayerInformationFormat",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
]
LIST = """
import inspect, json, sys
sys.setdlopenflags(1)
import tensorrt
def first(value):
    lines = (value.__doc__ or "").strip().splitlines()
    return lines[0] if lines and "(" in lines[0] else ""
def names(kind):
    return {n: first(inspect.getattr_static(kind, n, None)) for n in dir(kind) if not n.startswith("_")}
print(json.dumps({c: names(getattr(tensorrt, c)) for c in sys.argv[1:] if hasattr(tensorrt, c)}))
"""


def surface(wheel: Path) -> dict[str, dict[str, str]]:
    """By class each public name, with its signature where it has one."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        zipfile.ZipFile(wheel).extractall(folder)
        binding = folder / "tensorrt_bindings" / "tensorrt.so"
        (folder / "stubs.c").write_text(STUBS)
        needed = re.findall(rb"libnv\w+\.so\.\d+", binding.read_bytes())
        for name in {found.decode() for found in needed}:
            command = ["gcc", "-shared", "-fPIC", "-o", folder / name, folder / "stubs.c", f"-Wl,-soname,{name}"]
            subprocess.run(command, check=True)
        done = subprocess.run(
            [sys.executable, "-c", LIST, *CLASSES],
            env={"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(binding.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    """One file a wheel."""
    for wheel in map(Path, sys.argv[1:]):
        version = wheel.name.split("-")[1]
        found = {
            "source": f"{wheel.name}, sha256 {hashlib.sha256(wheel.read_bytes()).hexdigest()}",
            "classes": surface(wheel),
        }
        target = Path(__file__).with_name("surfaces") / f"{version}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        sys.stdout.write(f"{target}: {sum(map(len, found['classes'].values()))} names\n")


if __name__ == "__main__":
    main()
