"""How public code names the weights of its networks, and what those networks are here.

Weights show neither the activation nor how a convolution pads: where a layout was published with
several, it has several families, and the caller finds the right one by measuring. All names and families
are facts about published checkpoints, from memory; none of that code is here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from edgerkd.core.architecture import Family

_Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`marks` are names that all its files have; `renames` (pattern, replacement) lead to our names, in order."""

    marks: tuple[str, ...]
    renames: tuple[tuple[str, _Replacement], ...]
    families: tuple[Family, ...]


def _numbered(prefix: str) -> Callable[[re.Match[str]], str]:
    """`layer1.` -> `prefix0.`: public code counts stages from 1, we from 0."""
    return lambda found: f"{prefix}{int(found[1]) - 1}."


LAYOUTS = (
    # WideResNet as in TRADES: block1.layer.0.bn1, convShortcut. `sub_block1` is a copy that no image goes through.
    Layout(
        marks=("block1.layer.0.conv1.weight", "fc.weight"),
        renames=(
            (r"^block(\d+)\.layer\.", _numbered("layers.")),
            (r"\.convShortcut\.", ".shortcut."),
            (r"^bn1\.", "bn."),
            (r"^fc\.", "linear."),
        ),
        families=("wideresnet", "wideresnet-silu"),
    ),
    # WideResNet as DeepMind published it, weights brought over from JAX: layer.0.block.0.batchnorm_0, logits.
    Layout(
        marks=("init_conv.weight", "logits.weight"),
        renames=(
            (r"^layer\.(\d+)\.block\.", r"layers.\1."),
            (r"\.batchnorm_(\d)\.", lambda found: f".bn{int(found[1]) + 1}."),
            (r"\.conv_(\d)\.", lambda found: f".conv{int(found[1]) + 1}."),
            (r"^init_conv\.", "conv1."),
            (r"^batchnorm\.", "bn."),
            (r"^logits\.", "linear."),
        ),
        families=("wideresnet-same-silu", "wideresnet-same", "wideresnet-silu", "wideresnet"),
    ),
    # PreActResNet: layer1.0.conv1, shortcut.0, linear; or the short layer1.0.c1, sc, fc; or our own names.
    Layout(
        marks=("conv1.weight", "bn.weight"),
        renames=(
            (r"^layer(\d+)\.", _numbered("layers.")),
            (r"\.c([12])\.", r".conv\1."),
            (r"\.(sc|shortcut\.0)\.", ".shortcut."),
            (r"^fc\.", "linear."),
        ),
        families=("preactresnet",),
    ),
    # ResNet: layer1.0.conv1, shortcut.0 or downsample.0, linear or fc.
    Layout(
        marks=("conv1.weight", "bn1.weight", "layer1.0.conv1.weight"),
        renames=(
            (r"^(conv|bn)1\.", r"\1."),
            (r"^layer(\d+)\.", _numbered("stages.")),
            (r"\.downsample\.", ".shortcut."),
            (r"^fc\.", "linear."),
        ),
        families=("resnet",),
    ),
    # Our own ResNet.
    Layout(marks=("conv.weight", "bn.weight", "stages.0.0.conv1.weight"), renames=(), families=("resnet",)),
)

_WRAPPERS = re.compile(r"^(?:(?:module|model|net|_orig_mod|attacker|1)\.)+")
_MOMENTS = re.compile(r"^(?:(?:normali[sz]er|normali[sz]e|normalization|norm|0)\.)?(?:new_)?(mean|std|mu|sigma)$")
_UNUSED = re.compile(r"^sub_block\d+\.")


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's own names, without those of wrappers; its normalisation, if it has one, as `mean` and `std`.

    Wrappers are data-parallel and compiled modules, `Sequential(normalize, network)`, and Madry's
    AttackerModel, which holds the network twice: the one without `attacker.` counts.
    """
    found: dict[str, Tensor] = {}
    for name in sorted(state, key=lambda name: "attacker." not in name):
        plain = _WRAPPERS.sub("", name)
        if moment := _MOMENTS.match(plain):
            plain = {"mu": "mean", "sigma": "std"}.get(moment[1], moment[1])
        if not _UNUSED.match(plain):
            found[plain] = state[name]
    return found


def layout_of(names: Iterable[str]) -> Layout | None:
    """The layout all of whose marks are among the names."""
    names = set(names)
    return next((layout for layout in LAYOUTS if names.issuperset(layout.marks)), None)


def renamed(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The same weights under our names."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        for pattern, replacement in layout.renames:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found
