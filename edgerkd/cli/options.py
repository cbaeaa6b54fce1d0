"""Options that several commands share."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerkd.core.data_request import DataRequest, parse_size, source_of
from edgerkd.core.errors import ConfigError
from edgerkd.core.precision import Precisions
from edgerkd.core.run import RunFolder, latest_run

if TYPE_CHECKING:
    from edgerkd.bundle.keys import Key, Signer
    from edgerkd.core.units import Radius

Run = Annotated[
    Path | None, typer.Option("--run", metavar="FOLDER", help="The run's folder; the newest one if not given.")
]
ProfileName = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="The device: a profile's name, or the path of a TOML file.")
]
Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="NAME",
        help="A teacher's name, a file of weights, or an ONNX file; one is trained here if it is needed and not given.",
    ),
]
Family = Annotated[
    str,
    typer.Option(
        "--family",
        metavar="NAME",
        help="The student's family: resnet, preactresnet, mobilenetv2, mobilenetv3, repvgg, or torchvision:NAME.",
    ),
]
PrecisionAsked = Annotated[
    Precisions,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="The precision: fp32, fp16, int8, or auto, the fastest on the device whose robustness holds.",
    ),
]
Eps = Annotated[
    str | None, typer.Option("--eps", metavar="RADIUS", help="The radius of the threat model, such as 8/255.")
]
Norm = Annotated[str, typer.Option("--norm", metavar="NORM", help="The norm of the threat model: Linf or L2.")]
AttackName = Annotated[
    str,
    typer.Option(
        "--attack",
        metavar="NAME",
        help="The attack: pgd, apgd, apgd-square, autoattack, or one that `edgerkd evaluate --list-attacks` names.",
    ),
]
DEFAULT_ATTACK = "apgd-square"
"""attacks/suite.py's DEFAULT, which is not imported for a help text."""
Images = Annotated[
    int,
    typer.Option("-n", "--images", metavar="NUMBER", help="The number of images to verify on, drawn by class.", min=1),
]


def _license(name: str) -> str:
    if not name.strip():
        raise typer.BadParameter("is empty: write its identifier, such as mit, or leave the option out")
    return name


License = Annotated[
    str,
    typer.Option(
        "--license",
        metavar="NAME",
        help="The license that the bundle's model card names, such as mit.",
        callback=_license,
    ),
]
MinRobust = Annotated[
    float | None,
    typer.Option("--min-robust", metavar="SHARE", help="The robust accuracy required, such as 0.4.", min=0, max=1),
]
MinClean = Annotated[
    float | None,
    typer.Option("--min-clean", metavar="SHARE", help="The clean accuracy required, such as 0.8.", min=0, max=1),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="NUMBER", help="The seed of all random numbers.", min=0, max=2**53)
]
DrawnSeed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="NUMBER",
        help="The seed of the attacks; drawn anew, and reported, if not given.",
        min=0,
        max=2**53,
    ),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="The backend: onnx, openvino, trt, trt-rtx, or another's name; the best here if not given.",
    ),
]
BundleProfile = Annotated[
    str | None,
    typer.Option(
        "--profile", metavar="NAME", help="The device whose requirements count: one of the bundle, or your TOML file."
    ),
]
Variant = Annotated[
    str | None,
    typer.Option("--variant", metavar="NAME", help="The bundle's variant; the first that fits if not given."),
]
Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign", metavar="KEY", help="The private key (PEM) that signs the bundle; one of your own if not given."
    ),
]
Trusted = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        metavar="KEY",
        help="A public key (PEM) that must have signed it; repeatable; your own key if not given.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write the result to, if not the usual one.")
]


def _data_parameters(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="The images: digits, mnist, fashion-mnist, cifar10, gtsrb, an .npz file, or a folder.",
        ),
    ] = "digits",
    size: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="SIZE", help="The size pictures are resized to, such as 64, or 64x48 (width first)."
        ),
    ] = None,
    fit: Annotated[
        str,
        typer.Option(
            "--fit", metavar="HOW", help="How they are resized: crop keeps the middle, stretch keeps the borders."
        ),
    ] = "crop",
    classes: Annotated[
        int | None,
        typer.Option("--classes", metavar="NUMBER", help="The number of classes, where some have no images.", min=2),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="REGEX",
            help="A regular expression: files whose names match with the same text show the same object.",
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Whether a mirrored image keeps its class; if so, training mirrors."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pictures that cannot be used.")] = False,
    alpha: Annotated[
        str,
        typer.Option(
            "--alpha", metavar="COLOUR", help="The colour behind transparent pictures: black, white, or refuse."
        ),
    ] = "refuse",
) -> DataRequest:
    from edgerkd.files.decode import with_settings
    from edgerkd.files.paths import given_path

    if not data.strip():
        raise ConfigError("--data is empty: name the images: digits, or another data set, an .npz file, or a folder.")
    named = "/" in data or data.startswith("~")  # as a path: ./mnist is not the MNIST that is known
    plain = DataRequest(source=source_of(given_path(data)) if named else data)
    asked = {
        "size": None if size is None else list(parse_size(size)),
        "fit": fit,
        "classes": classes,
        "group_by": group_by,
        "flip": flip,
        "skip_bad": skip_bad,
        "alpha": alpha,
    }
    return with_settings(plain, asked, "--data and its options")


def with_data(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command all options that say which data, in place of its parameter `request`."""
    return replaced_parameter(command, "request", _data_parameters)


def replaced_parameter(command: Callable[..., Any], name: str, parts: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the parameters of `parts` in place of its own `name`, which gets what `parts` makes of them."""
    own, several = inspect.signature(command), inspect.signature(parts)

    def wrapped(**given: Any) -> Any:
        asked = {part: given.pop(part) for part in several.parameters}
        return command(**given, **{name: parts(**asked)})

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        added = several.parameters.values() if parameter.name == name else [parameter]
        parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in added]
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  what inspect itself looks for
    return wrapped


def given_flags(context: typer.Context, names: Iterable[str]) -> tuple[str, ...]:
    """The flags of those parameters that the user gave on the command line, such as `--group-by`."""
    given = {name for name in names if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    return tuple(max(p.opts, key=len) for p in context.command.params if p.name in given)


DATA_OPTIONS = tuple(inspect.signature(_data_parameters).parameters)
"""Their names, as a command's context knows them."""


def run_folder(run: Path | None, flag: str = "--run") -> RunFolder:
    """The run that `flag` named, or the newest. Raises ConfigError where it is not there."""
    if run is None:
        return latest_run()
    from edgerkd.files.paths import check_folder, find_kind, given_path, shown

    found = RunFolder(given_path(run))
    check_folder(found.path, error=lambda reason: ConfigError(f"{flag}: {reason}"))
    if find_kind(found.recipe) is None:
        raise ConfigError(f"{flag}: {shown(run)} is not a run's folder, because run.json is missing there.")
    return found


def signer_of(key: Path | None) -> "Signer":
    """The signer that --sign named, or the user's own. Asked before any work is done."""
    from edgerkd.bundle.keys import load_signer, own_signer
    from edgerkd.files.paths import given_path

    return own_signer() if key is None else load_signer(given_path(key))


def trusted_keys(keys: list[Path] | None) -> "tuple[Key, ...]":
    """The keys that --trust named."""
    from edgerkd.bundle.keys import load_key
    from edgerkd.files.paths import given_path

    return tuple(load_key(given_path(key)) for key in keys or ())


def radius(eps: str | None) -> "Radius | None":
    """The radius written, if one was."""
    from edgerkd.core.units import Radius

    return None if eps is None else Radius(eps)


def bundle_folders(bundle: Path | None) -> RunFolder:
    """The folder around a bundle, where its engines and its verification go; the newest run's if not named.

    A bundle that was copied to a device keeps whatever name it has there.
    """
    if bundle is None:
        return latest_run("name the folder of a bundle")
    from edgerkd.files.paths import given_path, unreadable

    path = given_path(bundle)
    try:
        path = path.resolve()
    except (OSError, RuntimeError, ValueError) as e:
        raise unreadable(path, e) from e
    return RunFolder(path.parent, bundle_name=path.name)
