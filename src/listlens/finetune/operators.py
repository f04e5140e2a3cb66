"""What each ONNX operator means in PyTorch: the ones that image networks are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

Tensor = Any
Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Tensor], Attributes], Any]

DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float32,  # float16: what is stored in it is computed in float32
    11: torch.float64,
}
"""ONNX's numbers of element types. Source: `onnx.TensorProto.DataType`."""


def padded(x: Tensor, a: Attributes, n: int, value: float = 0.0) -> tuple[Tensor, int | list[int]]:
    """Return the input and the padding that the operator itself can do: the symmetric part.

    Args:
        x: `(n, c, ...)`.
        a: attributes, whose `auto_pad` must be explicit or absent.
        n: number of spatial dimensions.
        value: what the rest is padded with.
    """
    pads = list(a.get("pads", [0] * 2 * n))
    if a.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = same_pads(x, a, n)
    before, after = pads[:n], pads[n:]
    if before == after:
        return x, before
    both = [side for d in reversed(range(n)) for side in (before[d], after[d])]
    return F.pad(x, both, value=value), 0


def same_pads(x: Tensor, a: Attributes, n: int) -> list[int]:
    """Return ONNX's padding for `auto_pad`: SAME_UPPER puts the odd pixel after."""
    before, after = [], []
    for d in range(n):
        stride = a.get("strides", [1] * n)[d]
        reach = (a["kernel_shape"][d] - 1) * a.get("dilations", [1] * n)[d] + 1
        size = x.shape[2 + d]
        total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        low, high = total // 2, total - total // 2
        upper = a["auto_pad"] == b"SAME_UPPER"
        before.append(low if upper else high)
        after.append(high if upper else low)
    return before + after


def conv(i: Sequence[Tensor], a: Attributes) -> Tensor:
    n = i[1].dim() - 2
    x, padding = padded(i[0], {"kernel_shape": list(i[1].shape[2:]), **a}, n)
    bias = i[2] if len(i) > 2 else None
    run = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    return run(
        x, i[1], bias, a.get("strides", 1), padding, a.get("dilations", 1), a.get("group", 1)
    )


def gemm(i: Sequence[Tensor], a: Attributes) -> Tensor:
    left = i[0].t() if a.get("transA") else i[0]
    right = i[1].t() if a.get("transB") else i[1]
    product = a.get("alpha", 1.0) * (left @ right)
    return product + a.get("beta", 1.0) * i[2] if len(i) > 2 and i[2] is not None else product


def batch_norm(i: Sequence[Tensor], a: Attributes) -> Tensor:
    """With the stored mean and variance: a batch of few photos says too little of them."""
    x, scale, bias, mean, variance = i[:5]
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def layer_norm(i: Sequence[Tensor], a: Attributes) -> Tensor:
    axis = a.get("axis", -1) % i[0].dim()
    bias = i[2] if len(i) > 2 else None
    return F.layer_norm(i[0], i[0].shape[axis:], i[1], bias, a.get("epsilon", 1e-5))


def clip(i: Sequence[Tensor], a: Attributes) -> Tensor:
    low = a.get("min", i[1] if len(i) > 1 else None)
    high = a.get("max", i[2] if len(i) > 2 else None)
    if low is not None and high is not None:
        return F.hardtanh(i[0], float(low), float(high))
    return torch.clamp(i[0], low, high)


def pool(kind: str) -> Operator:
    """Return average or largest value in a window."""

    def run(i: Sequence[Tensor], a: Attributes) -> Tensor:
        n = i[0].dim() - 2
        size, strides = a["kernel_shape"], a.get("strides", [1] * n)
        ceil = bool(a.get("ceil_mode", 0))
        if kind == "max":
            x, padding = padded(i[0], a, n, -math.inf)
            return F.max_pool2d(x, size, strides, padding, a.get("dilations", 1), ceil)
        x, padding = padded(i[0], a, n)
        counted = bool(a.get("count_include_pad", 0))
        mean = F.avg_pool2d(x, size, strides, padding, ceil, counted)
        if counted or x is i[0]:
            return mean
        ones, _ = padded(torch.ones_like(i[0][:1, :1]), a, n)  # unevenly padded: what is photo
        return mean / F.avg_pool2d(ones, size, strides, padding, ceil, counted)

    return run


def axes_of(i: Sequence[Tensor], a: Attributes) -> list[int] | None:
    """Axes are an attribute in old operator sets and an input in new ones."""
    if "axes" in a:
        return list(a["axes"])
    return i[1].tolist() if len(i) > 1 and i[1] is not None else None


def reduce(how: Callable[..., Tensor]) -> Operator:
    """Return a mean or sum over axes."""

    def run(i: Sequence[Tensor], a: Attributes) -> Tensor:
        axes = axes_of(i, a)
        dims = list(range(i[0].dim())) if axes is None else axes
        return how(i[0], dims, keepdim=bool(a.get("keepdims", 1)))

    return run


def reshape(i: Sequence[Tensor], a: Attributes) -> Tensor:
    wanted = i[1].tolist()
    shape = [i[0].shape[d] if size == 0 else size for d, size in enumerate(wanted)]
    return i[0].reshape(shape)


def flatten(i: Sequence[Tensor], a: Attributes) -> Tensor:
    axis = a.get("axis", 1)
    return i[0].reshape(math.prod(i[0].shape[:axis]), -1)


def squeeze(i: Sequence[Tensor], a: Attributes) -> Tensor:
    axes = axes_of(i, a)
    return i[0].squeeze() if axes is None else i[0].squeeze(tuple(axes))


def unsqueeze(i: Sequence[Tensor], a: Attributes) -> Tensor:
    axes = axes_of(i, a) or []
    n = i[0].dim() + len(axes)
    x = i[0]
    for axis in sorted(d % n for d in axes):
        x = x.unsqueeze(axis)
    return x


def slice_(i: Sequence[Tensor], a: Attributes) -> Tensor:
    """With steps above 0."""
    starts = a.get("starts") or i[1].tolist()
    ends = a.get("ends") or i[2].tolist()
    given = a.get("axes") or (i[3].tolist() if len(i) > 3 and i[3] is not None else None)
    steps = i[4].tolist() if len(i) > 4 else [1] * len(starts)
    cut = [slice(None)] * i[0].dim()
    for axis, start, end, step in zip(
        given or range(len(starts)), starts, ends, steps, strict=True
    ):
        cut[axis] = slice(start, end, step)
    return i[0][tuple(cut)]


def gather(i: Sequence[Tensor], a: Attributes) -> Tensor:
    axis, index = a.get("axis", 0) % i[0].dim(), i[1].long()
    index = torch.where(index < 0, index + i[0].shape[axis], index)
    flat = torch.index_select(i[0], axis, index.reshape(-1))
    return flat.reshape([*i[0].shape[:axis], *index.shape, *i[0].shape[axis + 1 :]])


def split(i: Sequence[Tensor], a: Attributes) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    sizes = a.get("split") or (i[1].tolist() if len(i) > 1 and i[1] is not None else None)
    if sizes is None:
        parts: tuple[Tensor, ...] = torch.tensor_split(i[0], a["num_outputs"], axis)
        return parts
    parts = torch.split(i[0], sizes, axis)
    return parts


def pad(i: Sequence[Tensor], a: Attributes) -> Tensor:
    """Constant padding of all axes."""
    pads = a.get("pads") or i[1].tolist()
    n = len(pads) // 2
    both = [side for d in reversed(range(n)) for side in (pads[d], pads[n + d])]
    fill = float(i[2]) if len(i) > 2 and i[2] is not None else a.get("value", 0.0)
    return F.pad(i[0], both, mode=a.get("mode", b"constant").decode(), value=fill)


def hard_sigmoid(i: Sequence[Tensor], a: Attributes) -> Tensor:
    return torch.clamp(a.get("alpha", 0.2) * i[0] + a.get("beta", 0.5), 0, 1)


def gelu(i: Sequence[Tensor], a: Attributes) -> Tensor:
    return F.gelu(i[0], approximate=a.get("approximate", b"none").decode())


def divide(i: Sequence[Tensor], a: Attributes) -> Tensor:
    if i[0].is_floating_point():
        return i[0] / i[1]
    return torch.div(i[0], i[1], rounding_mode="trunc")


def plain(function: Callable[..., Tensor]) -> Operator:
    """Return an operator without attributes."""
    return lambda i, a: function(*i)


OPERATORS: dict[str, Operator] = {
    "Add": plain(torch.add),
    "AveragePool": pool("average"),
    "BatchNormalization": batch_norm,
    "Cast": lambda i, a: i[0].to(DTYPES[a["to"]]),
    "Clip": clip,
    "Concat": lambda i, a: torch.cat(list(i), a["axis"]),
    "Conv": conv,
    "Div": divide,
    "Dropout": lambda i, a: i[0],
    "Elu": lambda i, a: F.elu(i[0], a.get("alpha", 1.0)),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Expand": lambda i, a: i[0] * torch.ones(i[1].tolist(), dtype=i[0].dtype),
    "Flatten": flatten,
    "Gather": gather,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": lambda i, a: i[0].mean(list(range(2, i[0].dim())), keepdim=True),
    "GlobalMaxPool": lambda i, a: i[0].amax(list(range(2, i[0].dim())), keepdim=True),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": plain(F.hardswish),
    "Identity": lambda i, a: i[0],
    "LayerNormalization": layer_norm,
    "LeakyRelu": lambda i, a: F.leaky_relu(i[0], a.get("alpha", 0.01)),
    "MatMul": plain(torch.matmul),
    "MaxPool": pool("max"),
    "Mul": plain(torch.mul),
    "Neg": plain(torch.neg),
    "Pad": pad,
    "Pow": plain(torch.pow),
    "Reciprocal": plain(torch.reciprocal),
    "ReduceMean": reduce(torch.mean),
    "ReduceSum": reduce(torch.sum),
    "Relu": plain(F.relu),
    "Reshape": reshape,
    "Shape": lambda i, a: torch.tensor(i[0].shape)[a.get("start", 0) : a.get("end")],
    "Sigmoid": plain(torch.sigmoid),
    "Slice": slice_,
    "Softmax": lambda i, a: torch.softmax(i[0], a.get("axis", -1)),
    "Softplus": plain(F.softplus),
    "Split": split,
    "Sqrt": plain(torch.sqrt),
    "Squeeze": squeeze,
    "Sub": plain(torch.sub),
    "Sum": lambda i, a: sum(i[1:], start=i[0]),
    "Tanh": plain(torch.tanh),
    "Transpose": lambda i, a: i[0].permute(a["perm"] if "perm" in a else range(i[0].dim())[::-1]),
    "Unsqueeze": unsqueeze,
}
"""Operators of the networks in wide use; any other is named in an error."""
