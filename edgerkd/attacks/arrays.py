"""What the array API standard has no word for, or one that NumPy has only since its version 2."""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.classifier import Array

_compat: Any = array_api_compat  # Any: it is typed for libraries that are not installed


def device_of(array: Array) -> Any:  # Any: each library has its own type
    """The device an array lives on: what `xp.asarray(..., device=...)` takes. Arrays of NumPy 1 do not say it."""
    return _compat.device(array)


def sign(array: Array) -> Array:
    """-1, 0 or 1, NaN where the array has that.

    By torch's own for its tensors: array_api_compat's writes the NaN through a mask, for which a GPU is waited for.
    """
    if hasattr(array, "sign"):
        return array.sign().where(array == array, array)
    return array_api_compat.array_namespace(array).sign(array)


def on_host(array: Array) -> NDArray[Any]:  # Any: whatever type the array has
    """The array as a NumPy one."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)
