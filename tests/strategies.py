"""Hypothesis strategies for every record: values of the types, ranges and lengths that its fields name."""

import dataclasses
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from edgerkd.core.accuracy import Accuracy, wilson_interval
from edgerkd.core.adoption import Adoption, Normalization
from edgerkd.core.architecture import Architecture
from edgerkd.core.judged import Judged
from edgerkd.core.kept import KeptFile
from edgerkd.core.model_spec import ModelSpec
from edgerkd.core.profile import GPU_LATENCIES, Budget, Device, Profile
from edgerkd.core.ranges import Ascending, Length, Name, Within
from edgerkd.core.text import odd_characters
from edgerkd.core.units import Radius
from edgerkd.core.variant import Variant

TEXT = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=20).filter(
    lambda text: not odd_characters(text)
)
SIZES = st.integers(1, 10**9).map("{} B".format)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {name: st.none() | SIZES for name in ("file", "peak_memory", "memory")}
"""By a field's name, what its type alone does not say."""


def records(cls: type) -> st.SearchStrategy[Any]:
    """Records of this class."""
    if cls is Accuracy:
        return st.integers(1, 500).flatmap(lambda n: st.integers(0, n).map(lambda hits: _accuracy(hits, n)))
    if cls is Architecture:
        return _architectures()
    if cls is Normalization:
        return _normalizations(st.integers(1, 4))
    if cls is Adoption:
        return st.integers(1, 4).flatmap(
            lambda n: _builds(Adoption, channels=st.just(n), normalization=_normalizations(st.just(n)))
        )
    if cls is Variant:
        named = _builds(Variant, backend=TEXT.map("b{}".format))
        return named | _builds(Variant, backend=st.none(), engine=st.none())
    if cls is KeptFile:  # whose `file` is no size
        return _builds(KeptFile, file=values(Name))
    if cls is Judged:
        return st.lists(st.text("-+ab", min_size=1, max_size=5), max_size=3).map(_judged)
    if cls is Profile:  # without a limit of a GPU's time where there is none
        budget = _builds(Budget, **dict.fromkeys(GPU_LATENCIES, st.none()))
        with_gpu = _builds(Profile, device=_builds(Device, compute_capability=TEXT.map("c{}".format)))
        return with_gpu | _builds(Profile, budget=budget)
    if cls is ModelSpec:
        return (st.none() | _architectures()).flatmap(_models)
    return _builds(cls)


def _judged(fates: list[str]) -> Judged:
    n = sum(map(len, fates))
    return Judged(of=n + 1, images=tuple(range(n)), fates=tuple(fates), host=None)


def _builds(cls: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls, include_extras=True)
    names = [f.name for f in dataclasses.fields(cls)]
    found = {**SPECIAL, **given}
    return st.builds(cls, **{name: found[name] if name in found else values(hints[name]) for name in names})


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    limits = [each for each in get_args(hint)[1:]] if get_origin(hint) is Annotated else []
    inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    while get_origin(inner) is Annotated:
        inner, limits = get_args(inner)[0], [*get_args(inner)[1:], *limits]
    within = next((limit for limit in limits if isinstance(limit, Within)), Within(None))
    length = next((limit for limit in limits if isinstance(limit, Length)), Length())
    found = _plain(inner, within, length)
    if any(isinstance(limit, Ascending) for limit in limits):
        return found.map(lambda many: tuple(sorted(set(many))))
    return found


def _plain(inner: Any, within: Within, length: Length) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(inner), get_args(inner)
    most = 4 if length.most is None else min(length.most, max(4, length.least))
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), min_size=length.least, max_size=most).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if origin is dict:
        return st.dictionaries(TEXT, values(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(inner):
        return records(inner)
    low, high = within.low, within.high
    if inner is int:
        return st.integers(0 if low is None else int(low), 2**31 if high is None else int(high))
    if inner is float:
        return st.floats(low, high, exclude_min=within.above, allow_nan=False, allow_infinity=False)
    if inner is str:
        return TEXT.map(lambda text: (text + "x" * length.least)[: max(length.least, most if length.most else 99)])
    return {bool: st.booleans(), type(None): st.none(), Radius: st.fractions(0, 1, max_denominator=10**6).map(Radius)}[
        inner
    ]


def _accuracy(hits: int, n: int) -> Accuracy:
    low, high = wilson_interval(hits, n)
    return Accuracy(value=hits / n, n=n, low=low, high=high)


def _models(architecture: Architecture | None) -> st.SearchStrategy[ModelSpec]:
    """Of the sizes that the architecture has, if there is one."""
    if architecture is None:
        return _builds(ModelSpec, architecture=st.none())
    names = tuple(f"class {k}" for k in range(architecture.classes))
    return _builds(
        ModelSpec,
        architecture=st.just(architecture),
        image_shape=st.just(architecture.image_shape),
        classes=st.just(names),
    )


def _normalizations(channels: st.SearchStrategy[int]) -> st.SearchStrategy[Normalization]:
    """With a mean and a deviation for each channel."""
    pairs = st.tuples(st.floats(-1, 1), st.floats(0.01, 1))
    many = channels.flatmap(lambda n: st.lists(pairs, min_size=n, max_size=n))
    return st.builds(
        lambda name, rows: Normalization(name=name, mean=tuple(m for m, _ in rows), std=tuple(s for _, s in rows)),
        TEXT.map("n{}".format),
        many,
    )


def _architectures() -> st.SearchStrategy[Architecture]:
    """Of the lengths that go together."""
    sides, small = st.integers(4, 300), st.integers(1, 9)
    stages = st.lists(st.tuples(small, small), min_size=1, max_size=4)
    colours = st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), min_size=1, max_size=4)

    def made(stages, colours, library, height, width, classes):
        stages = stages if library is None else []
        return Architecture(
            family="resnet" if library is None else "library",
            widths=tuple(width for width, _ in stages),
            blocks=tuple(count for _, count in stages),
            channels=len(colours),
            height=height,
            width=width,
            classes=classes,
            mean=tuple(mean for mean, _ in colours),
            std=tuple(std for _, std in colours),
            library=library,
        )

    library = st.none() | TEXT.map(lambda text: f"timm:{text}")
    return st.builds(made, stages, colours, library, sides, sides, st.integers(2, 99))
