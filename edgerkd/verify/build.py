"""bundle -> engines, on the machine that will run them."""

import re
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgerkd.bundle.backend import AttackedBackend, Backend
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle
from edgerkd.core.engine import BuildLog
from edgerkd.core.engine_memory import EngineMemory
from edgerkd.core.errors import ArtefactError, ConfigError, EngineError, MissingDependencyError, StorageError
from edgerkd.core.profile import Profile
from edgerkd.core.ranges import Sha256
from edgerkd.core.record import Record
from edgerkd.core.variant import Variant
from edgerkd.core.verification import Skipped
from edgerkd.files.atomic import locked, scratch_folder, sha256_of, storage, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import read_file, shown
from edgerkd.verify.doctor import Jetson, find_jetson
from edgerkd.verify.isolated import EngineProcess, IsolatedEngine, RunError
from edgerkd.verify.seal import is_sealed, seal

FALLBACK = "onnx"
MAX_BATCH = 64
RECORD = "engine.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord(Record):
    """What stands beside an engine (engine.json): the engine's own bytes stay untouched.

    `log` and `twin_log` say how each of the two was built, `jetson` in which power mode and with which software.
    """

    SCHEMA = 1

    backend: str
    variant: str
    manifest_sha256: Sha256
    engine_sha256: Sha256
    twin_sha256: Sha256
    log: BuildLog
    twin_log: BuildLog = field(default_factory=BuildLog)
    jetson: Jetson | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """A variant's engine and its gradient twin's, as files."""

    engine: Path
    twin: Path
    record: EngineRecord


def choose_backend(expected: str | None, preferred: tuple[str, ...]) -> tuple[Backend, tuple[Skipped, ...]]:
    """The backend asked for, or the first of the preferred that really works here; and why others do not.

    Raises MissingDependencyError where none works, or the one asked for does not.
    """
    if expected is not None:
        backend = load_backend(expected)
        backend.check()
        return backend, ()
    skipped: list[Skipped] = []
    for name in dict.fromkeys((*preferred, FALLBACK)):
        try:
            backend = load_backend(name)
            backend.check()
        except (MissingDependencyError, ConfigError) as e:  # a bundle may name a backend that is not known here
            skipped.append(Skipped(backend=name, problem=str(e)))
            continue
        return backend, tuple(skipped)
    reasons = "\n  ".join(f"{each.backend} is not used: {each.problem}" for each in skipped)
    raise MissingDependencyError(f"No backend works here:\n  {reasons}")


def preferred_backends(bundle: Bundle, profile: Profile | None) -> tuple[str, ...]:
    """Those of the device, the best first; without a device the one the bundle was made for."""
    return (bundle.manifest.format,) if profile is None else profile.backends


def build_engine(
    bundle: Bundle, variant: Variant, backend: Backend, folder: Path, *, again: bool = False
) -> BuiltEngine:
    """Engines of a variant and its twin, below `folder`, under the bundle's name and digest.

    An earlier build of the same bundle by this user is kept, unless it is to be built `again`; those of an older bundle
    of the same name are removed. An engine that the bundle brings is taken as it is.

    Raises MissingDependencyError where the backend cannot build here, EngineError where it fails.
    """
    target = folder / bundle.key / backend.name / variant.name
    brought = bundle.path / variant.engine if variant.engine else None
    engine, twin = brought or target / f"engine{backend.suffix}", target / f"twin{backend.suffix}"
    record = None if again else _kept(target / RECORD, bundle, variant, backend, engine, twin)
    if record is None:
        backend.check_build()
        with locked(target.with_name(f".{variant.name}.lock")):  # who waited here finds what the other has built
            record = None if again else _kept(target / RECORD, bundle, variant, backend, engine, twin)
            record = record or _built(target / RECORD, bundle, variant, backend, engine, twin)
    _remove_older(folder, bundle)
    return BuiltEngine(engine=engine, twin=twin, record=record)


def _kept(
    path: Path, bundle: Bundle, variant: Variant, backend: Backend, engine: Path, twin: Path
) -> EngineRecord | None:
    """The record of an earlier build that can be used, if there is one."""
    record = _earlier(path, bundle, backend, variant, engine, twin)
    return record if record is not None and _is_of_bundle(record, bundle, variant, backend) else None


def _built(path: Path, bundle: Bundle, variant: Variant, backend: Backend, engine: Path, twin: Path) -> EngineRecord:
    """Build the twin, and the engine unless the bundle brings it; what was built is written to `path`.

    It is built where nobody else can write, so that the digests are of what was built and of nothing else.
    """
    log, files = BuildLog(), bundle.manifest.files
    with scratch_folder() as private:
        made = {twin: private / twin.name}
        if not variant.engine:
            made[engine] = private / engine.name
            log = backend.build(bundle.path / variant.graph, made[engine], max_batch=MAX_BATCH)
        twin_log = backend.build(bundle.path / variant.twin, made[twin], max_batch=MAX_BATCH)
        for name in (variant.engine or variant.graph, variant.twin):
            if sha256_of(bundle.path / name, error=ArtefactError) != files[name].sha256:
                raise ArtefactError(f"{bundle.path / name} was changed while it was built: copy the bundle again")
        digests = {target: sha256_of(file) for target, file in made.items()}
        for target, file in made.items():
            write_atomic(target, read_file(file))
    record = EngineRecord(
        backend=backend.name,
        variant=variant.name,
        manifest_sha256=bundle.sha256,
        engine_sha256=files[variant.engine].sha256 if variant.engine else digests[engine],
        twin_sha256=digests[twin],
        log=log,
        twin_log=twin_log,
        jetson=find_jetson(),
    )
    write_atomic(path, encode_json(record))
    seal(path)
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEngines:
    """An engine and its twin, live. `attacked` is the engine itself, or the same one opened as an attack wants it.

    `memory` is what the engine took while it was alone in its process.
    """

    live: IsolatedEngine
    attacked: IsolatedEngine
    twin: IsolatedEngine
    built: BuiltEngine
    memory: EngineMemory


def open_engines(bundle: Bundle, variant: Variant, backend: Backend, folder: Path, stack: ExitStack) -> OpenEngines:
    """A variant's engine and its twin's, live in a process of their own until `stack` is left.

    Engines kept from another version of the backend, or from another device, do not load: they are built
    anew, once. Where `folder` cannot be written, engines that are missing there are built in a temporary one. Raises
    ArtefactError or EngineError where that does not help, StorageError where nothing can be written at all.
    """
    try:
        return _opened(bundle, variant, backend, folder, stack)
    except StorageError:
        return _opened(bundle, variant, backend, stack.enter_context(scratch_folder()), stack)


def _opened(bundle: Bundle, variant: Variant, backend: Backend, folder: Path, stack: ExitStack) -> OpenEngines:
    built = build_engine(bundle, variant, backend, folder)
    try:
        return _live(bundle, variant, backend, built, stack)
    except RunError:
        raise
    except (ArtefactError, EngineError):
        built = build_engine(bundle, variant, backend, folder, again=True)
        return _live(bundle, variant, backend, built, stack)


def _live(bundle: Bundle, variant: Variant, backend: Backend, built: BuiltEngine, stack: ExitStack) -> OpenEngines:
    """All, or none; an engine gives logits, its twin the gradient as well. One built elsewhere is adapted.

    They are loaded from copies that nobody else can change. Raises EngineError where what is kept was replaced in the
    meantime, RunError where the engine fails.
    """
    adoption = None if variant.engine is None else bundle.manifest.model.adoption
    with ExitStack() as everything:
        names, built = (shown(built.engine), shown(built.twin)), _private(built, everything)
        process = everything.enter_context(EngineProcess())
        live = attacked = process.open(backend.name, built.engine, outputs=1, name=names[0])
        if adoption is not None:
            live.adapt(adoption)
        memory = _memory(bundle, live)
        fixed = adoption is not None and adoption.fixed_batch is not None  # then each call has few images in any case
        if isinstance(backend, AttackedBackend) and not fixed:
            attacked = process.open(backend.name, built.engine, outputs=1, attacked=True, name=names[0])
            if adoption is not None:
                attacked.adapt(adoption)
        twin = process.open(backend.name, built.twin, outputs=2, attacked=True, name=names[1])
        stack.enter_context(everything.pop_all())
    return OpenEngines(live=live, attacked=attacked, twin=twin, built=built, memory=memory)


def _private(built: BuiltEngine, stack: ExitStack) -> BuiltEngine:
    """Copies of both in a folder of this process's, there until `stack` is left, that are what the record says.

    What is kept may lie where others can write: between a look at its digest and its loading it could be exchanged, and
    a runtime may read what lies beside it.
    """
    folder, copies = stack.enter_context(scratch_folder()), list[Path]()
    recorded = (built.record.engine_sha256, built.record.twin_sha256)
    for name, file, sha256 in zip(("engine", "twin"), (built.engine, built.twin), recorded, strict=True):
        copies.append(folder / f"{name}{file.suffix}")
        with storage(folder):
            shutil.copyfile(file, copies[-1])
        if sha256_of(copies[-1]) != sha256:
            raise EngineError(f"{file} was replaced after it was built: run the command again")
    return replace(built, engine=copies[0], twin=copies[1])


def _memory(bundle: Bundle, live: IsolatedEngine) -> EngineMemory:
    """What the engine takes as it is deployed, for one image at a time."""
    model = bundle.manifest.model
    process, device = live.weigh(np.zeros((1, *model.image_shape), np.float32))
    return EngineMemory(
        batch=1, counted=model.cost.peak_bytes, gpu=live.device.kind == "gpu", process=process, device=device
    )


def _earlier(
    path: Path, bundle: Bundle, backend: Backend, variant: Variant, engine: Path, twin: Path
) -> EngineRecord | None:
    """The record of an earlier build, if it is this user's own, of this bundle, and its files are as they were."""
    if not path.exists():
        return None
    try:
        if not is_sealed(path):
            return None
        record = decode_json(EngineRecord, path)
        found = (record.manifest_sha256, record.backend, record.variant, record.engine_sha256, record.twin_sha256)
        same = found == (bundle.sha256, backend.name, variant.name, sha256_of(engine), sha256_of(twin))
    except (ArtefactError, ConfigError, OSError):
        return None
    return record if same else None


def _is_of_bundle(record: EngineRecord, bundle: Bundle, variant: Variant, backend: Backend) -> bool:
    """Whether what the bundle has a digest of is its own file: an engine that it brings, and a graph that is its own
    engine. A record can be made up.
    """
    is_graph, files = backend.suffix == ".onnx", bundle.manifest.files
    engine = variant.engine or (variant.graph if is_graph else None)
    if engine is not None and record.engine_sha256 != files[engine].sha256:
        return False
    return not is_graph or record.twin_sha256 == files[variant.twin].sha256


def _remove_older(folder: Path, bundle: Bundle) -> None:
    """Engines of a bundle that this one has replaced; whatever cannot be removed only takes room."""
    name = bundle.key.rpartition("-")[0]
    for other in folder.iterdir():
        older = other.name != bundle.key and re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{12}}", other.name)
        if older and any(other.glob(f"*/*/{RECORD}")):
            with suppress(OSError):
                shutil.rmtree(other)
