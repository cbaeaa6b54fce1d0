"""bundle -> engine, on the machine that will run it."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgerkd.bundle.plugins import load_exporter, load_runtime
from edgerkd.bundle.ports import LiveEngine, Runtime
from edgerkd.bundle.read import Bundle
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.core.record import Record
from edgerkd.files.atomic import sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json

FALLBACK_RUNTIME = "onnxruntime"
MAX_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord(Record):
    """What stands beside an engine (engine.json): the engine's own bytes stay untouched."""

    exporter: str
    manifest_sha256: str
    student_sha256: str
    twin_sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """The student's engine and its gradient twin's, as files."""

    student: Path
    twin: Path
    record: EngineRecord


def choose_runtime(expected: str | None, preferred: tuple[str, ...]) -> tuple[Runtime, tuple[str, ...]]:
    """The runtime asked for, or the first of the preferred that really works here; and why others do not.

    Raises MissingDependencyError where none works, or the one asked for does not.
    """
    if expected is not None:
        runtime = load_runtime(expected)
        runtime.check()
        return runtime, ()
    why_not: list[str] = []
    for name in dict.fromkeys((*preferred, FALLBACK_RUNTIME)):
        runtime = load_runtime(name)
        if (reason := _why_not(runtime)) is None:
            return runtime, tuple(why_not)
        why_not.append(f"{name} is not used: {reason}")
    raise MissingDependencyError("no runtime works here:\n  " + "\n  ".join(why_not))


def _why_not(runtime: Runtime) -> str | None:
    try:
        runtime.check()
    except MissingDependencyError as e:
        return str(e)
    return None


def build_engine(bundle: Bundle, exporter_name: str, folder: Path, *, again: bool = False) -> BuiltEngine:
    """Engines for the student and the twin in `folder/EXPORTER/`.

    An earlier build of the same bundle is kept, unless it is to be built `again`.

    Raises MissingDependencyError where the exporter cannot work here, EngineError where it fails.
    """
    exporter = load_exporter(exporter_name)
    target = folder / exporter_name
    student, twin = target / f"student{exporter.suffix}", target / f"twin{exporter.suffix}"
    found = None if again else _earlier(target / "engine.json", bundle, student, twin)
    if found is not None:
        return BuiltEngine(student=student, twin=twin, record=found)
    exporter.check()
    notes = [*exporter.export(bundle.student, student, max_batch=MAX_BATCH)]
    exporter.export(bundle.twin, twin, max_batch=MAX_BATCH)
    record = EngineRecord(
        exporter=exporter_name,
        manifest_sha256=bundle.sha256,
        student_sha256=sha256_of(student),
        twin_sha256=sha256_of(twin),
        notes=tuple(notes),
    )
    write_atomic(target / "engine.json", encode_json(record))
    return BuiltEngine(student=student, twin=twin, record=record)


def load_engines(
    bundle: Bundle, runtime: Runtime, built: BuiltEngine, folder: Path, stack: ExitStack
) -> tuple[LiveEngine, LiveEngine, BuiltEngine]:
    """The student's engine and its twin's, live until `stack` is left.

    Engines kept from another version of the runtime, or from another device, do not load: they are built
    anew, once. Raises ArtefactError or EngineError where that does not help.
    """
    try:
        engine, twin = (stack.enter_context(runtime.load(path)) for path in (built.student, built.twin))
    except (ArtefactError, EngineError):
        stack.close()
        built = build_engine(bundle, runtime.exporter, folder, again=True)
        engine, twin = (stack.enter_context(runtime.load(path)) for path in (built.student, built.twin))
    return engine, twin, built


def _earlier(record_path: Path, bundle: Bundle, student: Path, twin: Path) -> EngineRecord | None:
    """The record of an earlier build, if it is of this bundle and its files are as they were."""
    if not record_path.exists():
        return None
    try:
        record = decode_json(EngineRecord, record_path)
        same = (record.manifest_sha256, record.student_sha256, record.twin_sha256) == (
            bundle.sha256,
            sha256_of(student),
            sha256_of(twin),
        )
    except (ArtefactError, OSError):
        return None
    return record if same else None
