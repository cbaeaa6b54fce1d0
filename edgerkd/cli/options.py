"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.core.errors import ConfigError
from edgerkd.core.run import RunFolder, latest_run

if TYPE_CHECKING:
    from edgerkd.core.units import Radius

Run = Annotated[Path | None, typer.Option("--run", help="The run's folder; the newest one if not given.")]
ProfileName = Annotated[str, typer.Option("--profile", help="The device: a profile's name or TOML file.")]
Data = Annotated[str, typer.Option("--data", help="digits, cifar10, an .npz file, or a folder of images.")]
Teacher = Annotated[str | None, typer.Option("--teacher", help="A teacher's name, or a file of weights.")]
Family = Annotated[
    str,
    typer.Option(
        "--family", help="resnet, preactresnet, mobilenetv2, mobilenetv3, repvgg, or a library's: torchvision:NAME."
    ),
]
Eps = Annotated[str | None, typer.Option("--eps", help="Radius of the threat model, like 8/255.")]
AttackName = Annotated[
    str,
    typer.Option(
        "--attack", help="pgd, apgd, autoattack, fgsm, pgd-100, pgd-kl, apgd-ce, apgd-dlr, apgd-t, fab-t or square."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]


def run_folder(run: Path | None, flag: str = "--run") -> RunFolder:
    """The run that `flag` named, or the newest. Raises ConfigError where it is not there."""
    if run is None:
        return latest_run()
    found = RunFolder(run)
    if not found.recipe.exists():
        raise ConfigError(f"{flag}: {found.recipe} is missing: {run} is not a run's folder")
    return found


def radius(eps: str | None) -> "Radius | None":
    """The radius written, if one was."""
    from edgerkd.core.units import Radius

    return None if eps is None else Radius(eps)


def bundle_folders(bundle: Path | None) -> RunFolder:
    """The folder around a bundle, where its engines and its verification go; the newest run's if not named.

    A bundle that was copied to a device keeps whatever name it has there.
    """
    if bundle is None:
        return latest_run()
    return RunFolder(bundle.resolve().parent, bundle_name=bundle.resolve().name)
