"""bundle -> engines, on the machine that will run them."""

import re
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgerkd.bundle.backend import AttackedBackend, Backend
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle
from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError, ConfigError, EngineError, MissingDependencyError, StorageError
from edgerkd.core.profile import Profile
from edgerkd.core.ranges import Sha256
from edgerkd.core.record import Record
from edgerkd.core.variant import Variant
from edgerkd.core.verification import Skipped
from edgerkd.files.atomic import locked, scratch_folder, sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.verify.doctor import Jetson, find_jetson
from edgerkd.verify.isolated import EngineProcess, IsolatedEngine
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
    if record is not None and backend.suffix == ".onnx" and not _are_the_graphs(record, bundle, variant):
        return None
    return record


def _built(path: Path, bundle: Bundle, variant: Variant, backend: Backend, engine: Path, twin: Path) -> EngineRecord:
    """Build the twin, and the engine unless the bundle brings it; what was built is written to `path`."""
    log = BuildLog()
    if not variant.engine:
        log = backend.build(bundle.path / variant.graph, engine, max_batch=MAX_BATCH)
    twin_log = backend.build(bundle.path / variant.twin, twin, max_batch=MAX_BATCH)
    record = EngineRecord(
        backend=backend.name,
        variant=variant.name,
        manifest_sha256=bundle.sha256,
        engine_sha256=sha256_of(engine),
        twin_sha256=sha256_of(twin),
        log=log,
        twin_log=twin_log,
        jetson=find_jetson(),
    )
    write_atomic(path, encode_json(record))
    seal(path)
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEngines:
    """An engine and its twin, live. `attacked` is the engine itself, or the same one opened as an attack wants it."""

    live: IsolatedEngine
    attacked: IsolatedEngine
    twin: IsolatedEngine
    built: BuiltEngine


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
        return _live(backend, built, stack)
    except (ArtefactError, EngineError):
        built = build_engine(bundle, variant, backend, folder, again=True)
        return _live(backend, built, stack)


def _live(backend: Backend, built: BuiltEngine, stack: ExitStack) -> OpenEngines:
    """All, or none; an engine gives logits, its twin the gradient as well.

    Raises EngineError where another process has built them anew in the meantime.
    """
    with ExitStack() as everything:
        process = everything.enter_context(EngineProcess())
        live = attacked = process.open(backend.name, built.engine, outputs=1)
        if isinstance(backend, AttackedBackend):
            attacked = process.open(backend.name, built.engine, outputs=1, attacked=True)
        twin = process.open(backend.name, built.twin, outputs=2, attacked=True)
        if (sha256_of(built.engine), sha256_of(built.twin)) != (built.record.engine_sha256, built.record.twin_sha256):
            raise EngineError(f"{built.engine} was replaced while it was loaded: run the command again")
        stack.enter_context(everything.pop_all())
    return OpenEngines(live=live, attacked=attacked, twin=twin, built=built)


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


def _are_the_graphs(record: EngineRecord, bundle: Bundle, variant: Variant) -> bool:
    """Whether engines that a graph needs not be built into are the bundle's own files: a record can be made up."""
    files = bundle.manifest.files
    expected = files[variant.engine or variant.graph].sha256, files[variant.twin].sha256
    return (record.engine_sha256, record.twin_sha256) == expected


def _remove_older(folder: Path, bundle: Bundle) -> None:
    """Engines of a bundle that this one has replaced; whatever cannot be removed only takes room."""
    name = bundle.key.rpartition("-")[0]
    for other in folder.iterdir():
        if other.name != bundle.key and re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{12}}", other.name):
            with suppress(OSError):
                shutil.rmtree(other)
