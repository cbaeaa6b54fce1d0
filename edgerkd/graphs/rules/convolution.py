"""Gradient rules of convolutions of one to three dimensions."""

from edgerkd.graphs.rules.build import batch_first, fit
from edgerkd.graphs.rules.tape import Call, Rule, Tape
from edgerkd.graphs.rules.windows import windows_of


def _fixed_weight(tape: Tape, call: Call) -> None:
    batch_first(tape, call)
    if call.varying != (0,):
        raise call.refusal("has a weight or bias that depends on the images: no gradient rule")


def _conv(tape: Tape, call: Call) -> dict[int, str]:
    """The transposed convolution with the same weight; its output padding restores the input's size exactly."""
    _fixed_weight(tape, call)
    size, out = tape.shape(call.x)[2:], tape.shape(call.y)[2:]
    windows = windows_of(call, tape.shape(call.inputs[1])[2:], size, out)
    n = len(windows)
    rest = [size[i] + windows.begins[i] + windows.ends[i] - windows.reach(i, out[i]) for i in range(n)]
    gradient = tape.emit(
        "ConvTranspose",
        call.gradient,
        call.inputs[1],
        strides=windows.strides,
        dilations=windows.dilations,
        pads=[*windows.begins, *windows.ends],
        output_padding=rest,
        group=call.attributes.get("group", 1),
    )
    return {0: gradient}


def _conv_transpose(tape: Tape, call: Call) -> dict[int, str]:
    """The convolution with the same weight. Padding from `output_shape` or `auto_pad`: ONNX, ConvTranspose-11."""
    _fixed_weight(tape, call)
    size, out = tape.shape(call.x)[2:], tape.shape(call.y)[2:]
    kernel = tape.shape(call.inputs[1])[2:]
    windows = windows_of(call, kernel, out, size)
    n = len(windows)
    begins = list(windows.begins)
    if "output_shape" in call.attributes or call.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        more = call.attributes.get("output_padding", [0] * n)
        totals = [windows.reach(i, size[i]) + more[i] - out[i] for i in range(n)]
        upper = call.attributes.get("auto_pad", b"NOTSET") == b"SAME_UPPER"
        begins = [total // 2 if upper else total - total // 2 for total in totals]
    ends = [windows.reach(i, size[i]) - out[i] - begins[i] for i in range(n)]
    shape = tape.shape(call.y)
    target = [*shape[:2], *(out[i] + min(0, ends[i]) for i in range(n))]
    gradient = tape.emit(
        "Conv",
        fit(tape, call.gradient, [0] * len(shape), shape, target),
        call.inputs[1],
        strides=windows.strides,
        dilations=windows.dilations,
        pads=[*begins, *(max(0, end) for end in ends)],
        group=call.attributes.get("group", 1),
    )
    return {0: gradient}


RULES: dict[str, Rule] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
