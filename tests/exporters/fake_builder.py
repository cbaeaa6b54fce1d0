"""The building half of TensorRT, as strict as the binding of each version: what that does not have cannot be used.

surfaces/VERSION.json lists what the published binding has (make_surfaces.py). 8.5.2, JetPack 5's, was published for no
Python of today: 8.6.1 is the oldest there is.
"""

import json
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

SURFACES = Path(__file__).with_name("surfaces")
VERSIONS = ("8.6.1", "10.3.0", "10.13.3.9", "10.16.1.11", "11.4.0.106")


class Strict:
    """An object of one of the binding's classes: it has what is given here, as far as the class has that."""

    def __init__(self, kind: str, known: dict[str, str], **members: Any) -> None:
        assert members.keys() <= known.keys(), f"{kind} has no {sorted(members.keys() - known.keys())}"
        self.__dict__.update(_kind=kind, _known=known, **members)

    def __getattr__(self, name: str) -> Any:
        if name in self._known:
            raise NotImplementedError(f"{self._kind}.{name}: not in this fake")
        raise AttributeError(f"{self._kind!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self._known:
            raise AttributeError(f"{self._kind!r} has no attribute {name!r}")
        self.__dict__[name] = value


class FakeBuilder(ModuleType):
    """A module `tensorrt` whose builder keeps every attempt in `attempts`.

    The network has a convolution for each of `types`: FLOAT and HALF are its own, INT8 has quantisers before it.
    `fails` says which steps fail: of a strongly typed network `parse` and `build`, of any network `always`.
    `inspected` is what the inspector says of an engine, None for what a builder that keeps the types would.
    """

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IExecutionContext:
        execute_async_v3 = None

    def __init__(self, version: str, types: tuple[str, ...] = ("FLOAT",), fails: tuple[str, ...] = ()) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.classes = json.loads((SURFACES / f"{version}.json").read_text())["classes"]
        for kind, known in self.classes.items():
            if "value" in known:  # of an enumeration, as pybind11 makes it
                names = [name for name in known if name not in ("name", "value")]
                setattr(self, kind, Enum(kind, names, start=0, type=_Number))
        self.types, self.fails = types, fails
        self.reason = "could not find any implementation"
        self.inspected: str | None = None
        self.loads = True
        self.attempts: list[SimpleNamespace] = []
        self.log: Any = None

    def strict(self, kind: str, **members: Any) -> Strict:
        return Strict(kind, self.classes[kind], **members)

    def Builder(self, log: Any) -> Strict:  # noqa: N802  TensorRT's name
        self.log = log
        attempt = SimpleNamespace(flags={"TF32"}, profile={}, layers=[], workspace=None, cache=None, offered=[])
        self.attempts.append(attempt)
        return self.strict(
            "Builder",
            create_network=lambda flags: self._network(attempt, flags),
            create_builder_config=lambda: self._config(attempt),
            create_optimization_profile=lambda: self.strict(
                "IOptimizationProfile", set_shape=lambda name, *shapes: attempt.profile.update({name: shapes})
            ),
            build_serialized_network=lambda network, config: self._build(attempt),
        )

    def _network(self, attempt: SimpleNamespace, flags: int) -> Strict:
        attempt.network = [m.name for m in self.NetworkDefinitionCreationFlag if flags & 1 << int(m)]
        attempt.layers = [layer for number, kind in enumerate(self.types) for layer in self._layers(number, kind)]
        return self.strict(
            "INetworkDefinition",
            num_inputs=1,
            get_input=lambda i: self.strict("ITensor", name="images", shape=(-1, 3, 4, 4)),
            num_layers=len(attempt.layers),
            get_layer=attempt.layers.__getitem__,
        )

    def _layers(self, number: int, kind: str) -> list[Strict]:
        def tensor(name: str, dtype: str) -> Strict:
            return self.strict("ITensor", name=f"{name}{number}", dtype=self.DataType[dtype])

        def layer(name: str, type: str, given: Strict, made: Strict) -> Strict:
            told = (
                {"precision": None, "set_output_type": lambda i, dtype: None}
                if "precision" in self.classes["ILayer"]
                else {}
            )
            return self.strict(
                "ILayer",
                name=f"{name}{number}",
                type=self.LayerType[type],
                num_outputs=1,
                get_input=lambda i: given,
                get_output=lambda i: made,
                **told,
            )

        if kind != "INT8":
            return [layer("conv", "CONVOLUTION", tensor("x", kind), tensor("y", kind))]
        x, q, d = tensor("x", "FLOAT"), tensor("q", "INT8"), tensor("d", "FLOAT")
        return [
            layer("quantise", "QUANTIZE", x, q),
            layer("dequantise", "DEQUANTIZE", q, d),
            layer("conv", "CONVOLUTION", d, tensor("y", "FLOAT")),
        ]

    def _config(self, attempt: SimpleNamespace) -> Strict:
        def timing(content: bytes) -> Strict | None:
            attempt.offered.append(content)
            known = content == b"" or content.startswith(b"times")
            return self.strict("ITimingCache", serialize=lambda: b"times of this build") if known else None

        def take(cache: Strict, ignore_mismatch: bool) -> bool:
            assert ignore_mismatch is False
            attempt.cache = cache
            return True

        return self.strict(
            "IBuilderConfig",
            add_optimization_profile=lambda profile: 0,
            clear_flag=lambda flag: attempt.flags.remove(flag.name),
            set_flag=lambda flag: attempt.flags.add(flag.name),
            set_memory_pool_limit=lambda pool, size: setattr(attempt, "workspace", (pool.name, size)),
            create_timing_cache=timing,
            set_timing_cache=take,
            get_timing_cache=lambda: attempt.cache,
            profiling_verbosity=None,
        )

    def _build(self, attempt: SimpleNamespace) -> memoryview | None:
        if "always" in self.fails or ("build" in self.fails and "STRONGLY_TYPED" in attempt.network):
            self.log.log(self.ILogger.ERROR, self.reason)
            return None
        return memoryview(b"plan")

    def OnnxParser(self, network: Strict, log: Any) -> Strict:  # noqa: N802  TensorRT's name
        strong = "STRONGLY_TYPED" in self.attempts[-1].network
        members: dict[str, Any] = {"code": lambda: self.ErrorCode.INVALID_NODE, "node": lambda: 3}
        members["desc"] = lambda: "no half Gemm"
        if "node_name" in self.classes["ParserError"]:
            members |= {"node_name": lambda: "gemm", "node_operator": lambda: "Gemm"}
        fails = ("parse" in self.fails and strong) or "always" in self.fails
        return self.strict(
            "OnnxParser",
            parse=lambda data: not fails,
            num_errors=1,
            get_error=lambda i: self.strict("ParserError", **members),
        )

    def Runtime(self, log: Any) -> Strict:  # noqa: N802  TensorRT's name
        def inspector() -> Strict:
            return self.strict("EngineInspector", get_engine_information=lambda format: self._information(format))

        return self.strict(
            "Runtime",
            deserialize_cuda_engine=lambda plan: (
                self.strict("ICudaEngine", create_engine_inspector=inspector) if self.loads else None
            ),
        )

    def _information(self, format: Enum) -> str:
        assert format.name == "JSON"
        if self.inspected is not None:
            return self.inspected
        words = {"FLOAT": "Row major linear FP32", "HALF": "Two wide channel vectorized row major FP16 format"}
        layers = [
            {
                "Name": f"conv{number} + relu{number}",
                "LayerType": "CaskConvolution",
                "Inputs": [{"Name": "x", "Format/Datatype": words.get(kind, "Thirty-two wide Int8 format")}],
                "Outputs": [{"Name": "y", "Format/Datatype": words.get(kind, "Thirty-two wide Int8 format")}],
            }
            for number, kind in enumerate(self.types)
        ]
        return json.dumps({"Layers": layers, "Bindings": ["images", "logits"]})


class _Number(int):
    """What pybind11's enumerations are made of: they can be made an integer."""
