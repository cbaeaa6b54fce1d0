"""Gradient rules of quantisers: straight through inside the representable range, nothing outside it.

Rounding counts as the identity, because its derivative, zero almost everywhere, would mask the network. Clamping does
not: a quantiser that saturates below zero does the work of a ReLU, and a twin that ignores it finds no attack.
Sources: Bengio et al. 2013, arXiv 1308.3432, section 4; as an attack, BPDA: Athalye et al. 2018, arXiv 1802.00420.
The gradient of an integer tensor is that of the real numbers which it stands for, so the scales cancel.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.graphs.rules.build import masked
from edgerkd.graphs.rules.tape import Call, Rule, Tape


def _quantize(tape: Tape, call: Call) -> dict[int, str]:
    """Where the least integer <= x / scale + zero point <= the largest."""
    scale = tape.value(call, 1)
    assert scale is not None
    zero = _zero_point(tape, call, scale)
    limits = np.iinfo(tape.dtype(call.y))
    shape = [1] * tape.rank(call.x) if scale.size > 1 else []
    if scale.size > 1:
        shape[call.attributes.get("axis", 1)] = -1
    unit = scale.astype(np.float64)
    least, most = (
        tape.numbers(np.reshape((limit - zero) * unit, shape), call.x) for limit in (int(limits.min), int(limits.max))
    )
    if shape:
        inside = tape.emit("Min", tape.emit("Max", call.x, least), most)
    else:
        inside = tape.emit("Clip", call.x, least, most)
    return {0: masked(tape, call, tape.emit("Equal", call.x, inside), call.gradient)}


def _zero_point(tape: Tape, call: Call, scale: NDArray[Any]) -> NDArray[np.float64]:
    zero = tape.value(call, 2)
    return np.zeros(scale.shape) if zero is None else zero.astype(np.float64)


def _dequantize(tape: Tape, call: Call) -> dict[int, str]:
    return {0: call.gradient}


RULES: dict[str, Rule] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
