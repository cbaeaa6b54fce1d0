"""Options that say what a network of the user's own is, shared by the commands that take one."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerkd.cli.options import replaced_parameter
from edgerkd.core.model_request import ModelRequest

if TYPE_CHECKING:
    from edgerkd.core.adoption import Normalization


def _model_parameters(
    factory: Annotated[
        str | None, typer.Option("--from", metavar="MODULE:NAME", help="Code that makes a torch module.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="The weights of a torch module or of a library's network."),
    ] = None,
    engine: Annotated[
        Path | None,
        typer.Option(
            "--engine", metavar="FILE", help="An engine built elsewhere from the same ONNX file, taken as it is."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="NAME", help="Which of several outputs holds the scores.")
    ] = None,
    normalize: Annotated[
        str | None,
        typer.Option(
            "--normalize",
            metavar="NAME",
            help="How pixels are normalised: imagenet, cifar10, none, or another known name.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean", metavar="NUMBERS", help="The mean that is subtracted a channel, like 0.485,0.456,0.406."
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option("--std", metavar="NUMBERS", help="What is divided by a channel, like 0.229,0.224,0.225."),
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", metavar="ORDER", help="The order of colours: rgb or bgr.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", metavar="LAYOUT", help="Where the channels are, if that is unclear: nchw or nhwc."),
    ] = None,
    resize: Annotated[
        bool | None,
        typer.Option("--resize/--no-resize", help="Whether images are resized to the network's size inside the graph."),
    ] = None,
) -> ModelRequest:
    from edgerkd.files.paths import given_path

    return ModelRequest(
        source=None,
        factory=factory,
        weights=None if weights is None else given_path(weights),
        engine=None if engine is None else given_path(engine),
        output=output,
        normalization=_normalization(normalize, mean, std),
        order=_one_of("--channels", channels, ("rgb", "bgr")),
        layout=_one_of("--layout", layout, ("nchw", "nhwc")),
        resize=resize,
    )


MODEL_OPTIONS = tuple(inspect.signature(_model_parameters).parameters)
"""Their names, as a command's context knows them."""


def with_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command all options that say what a network is, in place of its parameter `model`."""
    return replaced_parameter(command, "model", _model_parameters)


def _normalization(name: str | None, mean: str | None, std: str | None) -> "Normalization | None":
    from edgerkd.graphs.preprocess import given, named

    if (mean is None) is not (std is None):
        raise typer.BadParameter("--mean and --std go together: give both")
    if mean is None or std is None:
        return None if name is None else named(name)
    if name is not None:
        raise typer.BadParameter("give --normalize, or --mean and --std")
    return given(_numbers("--mean", mean), _numbers("--std", std))


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError as e:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers: write them like 0.485,0.456,0.406", param_hint=flag
        ) from e
    return found


def _one_of(flag: str, text: str | None, known: tuple[str, ...]) -> Any:  # Any: the literal of the caller's record
    if text is not None and text.lower() not in known:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(known)}", param_hint=flag)
    return None if text is None else text.lower()
