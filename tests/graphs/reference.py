"""onnx's reference evaluator in float64, with those of its operators replaced that round to float32, fail or differ.

Each replacement is torch's function, or NumPy written from ONNX's description.
"""

import numpy as np
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


class Erf(OpRun):
    def _run(self, x):
        return (torch.special.erf(torch.from_numpy(x)).numpy(),)


class Gelu(OpRun):
    def _run(self, x, approximate=None):
        return (F.gelu(torch.from_numpy(x), approximate=approximate or "none").numpy(),)


class BatchNormalization(OpRun):
    def _run(self, x, *given, epsilon=None, **_):
        scale, bias, mean, variance = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in given)
        return ((x - mean) / np.sqrt(variance + (epsilon or 1e-5)) * scale + bias,)


class LRN(OpRun):
    def _run(self, x, alpha=None, beta=None, bias=None, size=None):
        return (F.local_response_norm(torch.from_numpy(x), size, alpha or 1e-4, beta or 0.75, bias or 1.0).numpy(),)


class LpNormalization(OpRun):
    def _run(self, x, axis=None, p=None):
        norm = np.linalg.norm(x, ord=2 if p is None else p, axis=-1 if axis is None else axis, keepdims=True)
        return (x / np.where(norm == 0, 1, norm),)


class Unsqueeze(OpRun):
    def _run(self, x, given=None, axes=None):
        return (np.expand_dims(x, tuple(int(axis) for axis in (axes if given is None else given))),)


class ConvTranspose(OpRun):
    def _run(self, x, weight, bias=None, dilations=None, group=None, output_padding=None, pads=None, strides=None, **_):
        n = x.ndim - 2
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        arrays = [None if v is None else torch.from_numpy(np.array(v)) for v in (x, weight, bias)]
        strides, dilations = (tuple(v) if v else (1,) * n for v in (strides, dilations))
        full = convolve(*arrays, strides, groups=group or 1, dilation=dilations).numpy()
        pads, more = pads or [0] * 2 * n, output_padding or [0] * n
        grown = np.pad(full, [(0, 0), (0, 0), *((0, m) for m in more)])
        return (grown[(..., *(slice(pads[i], grown.shape[2 + i] - pads[n + i]) for i in range(n)))],)


def _pads(x, kernel, auto_pad, dilations, pads, strides):
    """Before each spatial axis, then behind each."""
    n = x.ndim - 2
    if not (auto_pad or "NOTSET").startswith("SAME"):
        return list(pads or [0] * 2 * n)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    windows = [-(-size // stride) for size, stride in zip(x.shape[2:], strides, strict=True)]
    totals = [max(0, (windows[i] - 1) * strides[i] + reach[i] - x.shape[2 + i]) for i in range(n)]
    less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return [*less, *more] if auto_pad == "SAME_UPPER" else [*more, *less]


class Conv(OpRun):
    def _run(self, x, weight, bias=None, auto_pad=None, dilations=None, group=None, pads=None, strides=None, **_):
        n = x.ndim - 2
        arrays = [None if v is None else torch.from_numpy(np.array(v)) for v in (x, weight, bias)]
        strides, dilations = (tuple(v) if v else (1,) * n for v in (strides, dilations))
        pads = _pads(x, weight.shape[2:], auto_pad, dilations, pads, strides)
        sides = [side for i in reversed(range(n)) for side in (pads[i], pads[n + i])]
        convolve = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
        padded = F.pad(arrays[0], sides)
        return (convolve(padded, *arrays[1:], strides, dilation=dilations, groups=group or 1).numpy(),)


class AveragePool(OpRun):
    def _run(self, x, auto_pad=None, count_include_pad=None, kernel_shape=None, pads=None, strides=None, **_):
        n = x.ndim - 2
        strides = tuple(strides) if strides else (1,) * n
        pads = _pads(x, kernel_shape, auto_pad, (1,) * n, pads, strides)
        sides = [side for i in reversed(range(n)) for side in (pads[i], pads[n + i])]
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[n - 1]
        total, count = (
            pool(F.pad(v, sides), kernel_shape, strides) for v in (torch.tensor(x), torch.ones(x.shape).double())
        )
        return ((total if count_include_pad else total / count).numpy(),)


class MaxPool(OpRun):
    def _run(self, x, auto_pad=None, ceil_mode=None, dilations=None, kernel_shape=None, pads=None, strides=None, **_):
        n = x.ndim - 2
        strides, dilations = (tuple(v) if v else (1,) * n for v in (strides, dilations))
        pads = _pads(x, kernel_shape, auto_pad, dilations, pads, strides)
        sides = [side for i in reversed(range(n)) for side in (pads[i], pads[n + i])]
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
        padded = F.pad(torch.from_numpy(np.array(x)), sides, value=-np.inf)
        return (pool(padded, kernel_shape, strides, 0, dilations, ceil_mode=bool(ceil_mode)).numpy(),)


OPS = [AveragePool, BatchNormalization, Conv, ConvTranspose, Erf, Gelu, LRN, LpNormalization, MaxPool, Unsqueeze]


def evaluator(graph, **given) -> ReferenceEvaluator:
    """Runs a graph, or one node, given as onnx or as bytes."""
    return ReferenceEvaluator(graph, new_ops=OPS, **given)
