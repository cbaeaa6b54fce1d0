"""Enough to repeat the run, and to know each file again."""

from edgerkd.core.profile import Profile
from edgerkd.core.run_record import RunRecord
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import NOTHING, data_table, field_texts, many_pairs, pairs, section
from edgerkd.report.table import Table, networks
from edgerkd.report.words import sentence


def provenance(facts: Facts) -> Markup:
    """Where everything came from."""
    record = facts.record
    return section(
        "Provenance",
        _run(facts),
        tag("h3", "Digests (SHA-256)"),
        pairs([(name, tag("code", digest)) for name, digest in _digests(facts)]),
        NOTHING if record is None else _recipe(record),
        *([] if (profile := _profile(facts)) is None else [_device(profile)]),
    )


def _run(facts: Facts) -> Markup:
    record, report, manifest = facts.record, facts.verification, facts.manifest
    rows = [("bundle", report.bundle if report else "not verified"), ("seeds", _seeds(facts))]
    versions = manifest.versions if record is None and manifest is not None else {}
    if record is not None:
        data = [("data", f"{record.data.name} (--data {record.request.source})"), ("teacher", record.teacher or "none")]
        rows, versions = [*data, *rows], record.versions
    elif manifest is not None:
        rows.insert(0, ("data", manifest.dataset))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return join(tag("h3", "Run" if record is not None else "Bundle"), pairs(rows))


def _seeds(facts: Facts) -> str:
    record, report = facts.record, facts.verification
    seeds = [] if record is None else [("training", record.recipe.seed)]
    seeds += [(f"attacks on the {name}", e.seed) for name, e in networks(facts).items()]
    if report is not None:
        seeds += [
            ("attacks on the engine", report.seed),
            ("order of the images, points of the gradient check", report.probe_seed),
        ]
    return "; ".join(f"{name}: {seed}" for name, seed in seeds)


def _digests(facts: Facts) -> list[tuple[str, str]]:
    record, report = facts.record, facts.verification
    found: list[tuple[str, str | None]] = []
    if record is not None:
        found += [("data", record.data.sha256), ("teacher's weights", record.teacher_sha256)]
    if report is not None:
        found += [("bundle's manifest, as verified", report.manifest_sha256), ("engine", report.engine.sha256)]
    if report is not None and report.kept is not None:
        found.append((f"{report.kept.file}, {report.kept.size:,} bytes", report.kept.sha256))
    if facts.stale:
        found.append(("bundle's manifest, now", facts.manifest_sha256))
    return [(name, digest) for name, digest in found if digest is not None]


def _recipe(record: RunRecord) -> Markup:
    cost = [(f"cost.{key}", value) for key, value in field_texts(record.cost) if value != "-"]
    return join(
        tag("h3", "Recipe"),
        tag("p", f"{sentence(record.method.description)} Source: {'; '.join(record.method.sources)}."),
        many_pairs(field_texts(record.recipe)),
        tag("h3", "Network"),
        many_pairs([*field_texts(record.architecture), *cost]),
    )


def _profile(facts: Facts) -> Profile | None:
    if facts.record is not None:
        return facts.record.profile
    return facts.manifest.profiles[0] if facts.manifest is not None and facts.manifest.profiles else None


def _device(profile: Profile) -> Markup:
    values = [
        (f"{part}.{key}", value)
        for part, holder in (("device", profile.device), ("budget", profile.budget), ("gates", profile.gates))
        for key, value in field_texts(holder)
    ]
    rows = [(key, value, profile.sources.get(key, "")) for key, value in values if value != "-"]
    rows += [(key, "", source) for key, source in profile.sources.items() if key not in dict(values)]
    return join(
        tag("h3", "Device profile"),
        tag("p", f"{profile.name}: {profile.title}; backends: {', '.join(profile.backends)}"),
        data_table(Table(("key", "value", "source"), tuple(rows)), "Each value with its source", kind="stacks sources"),
    )
