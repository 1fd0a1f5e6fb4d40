"""Encoders in 8-bit integers: several times as fast where the processor multiplies them in hardware (VNNI, AMX).

Weights are rounded once, a scale for each output channel; the inputs of a layer are rounded to the range that they had
on a few example batches (static quantisation, Jacob et al. 2018). The products are summed exactly and become float32
again, so everything between the layers is computed as before. The kernels are oneDNN's, as torch calls them. On another
processor the same rounded numbers are multiplied in float32: no faster, but an index made in 8-bit integers is searched
with the same vectors there, but for the rounding of float32.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..encoders import Encoder
from .precision import native_int8

# N inputs, C channels

Ranges = Mapping[str, Sequence[float]]  # the lowest and the highest input of each layer that is quantised

MIN_SHARE_OF_WORK = 0.002  # layers with fewer of the multiplications stay in float32: they gain nothing
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


class RangeRecorder:
    """Records the range of the inputs of each layer, and how many multiplications it computes."""

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float]] = {}
        self._work: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def record(self, encoder: Encoder) -> Iterator[None]:
        """Record what an encoder computes inside the block."""

        def hook(name: str) -> Any:
            def record(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
                low, high = map(float, inputs[0].aminmax())
                weight: Any = layer.weight
                with self._lock:  # batches are computed by several threads
                    least, most = self._ranges.get(name, (0.0, 0.0))  # zero is always exact: convolutions pad with it
                    self._ranges[name] = min(least, low), max(most, high)
                    self._work[name] = self._work.get(name, 0) + output.numel() * weight[0].numel()

            return record

        handles = [
            layer.register_forward_hook(hook(name))
            for name, layer in encoder.named_modules()
            if type(layer) in _LAYERS and getattr(layer, "padding_mode", "zeros") == "zeros"
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The ranges of the layers that matter for the time; none if there are none."""
        least = MIN_SHARE_OF_WORK * sum(self._work.values())
        return {
            name: (low, high)
            for name, (low, high) in self._ranges.items()
            if 0 < high - low < math.inf and self._work[name] >= least
        }


def quantize(encoder: Encoder, ranges: Ranges) -> Encoder:
    """A copy of an encoder whose layers of these names compute in 8-bit integers; it shares the reader.

    Raises:
        KeyError: the encoder has no such layer.
    """
    layers = dict(encoder.named_modules())
    replaced: dict[int, Any] = {id(encoder.reader): encoder.reader}
    for name, (low, high) in ranges.items():
        replaced[id(layers[name])] = _QuantizedLayer(layers[name], low, high)
    return copy.deepcopy(encoder, replaced)


class _QuantizedLayer(nn.Module):
    """A convolution or a linear layer in 8-bit integers, from float32 to float32, as a convolution over images."""

    def __init__(self, layer: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.__dict__["layer"] = layer  # not a module of its own: some networks read its settings and weights
        weight, bias = layer.get_parameter("weight").detach(), getattr(layer, "bias", None)
        self.bias = None if bias is None else bias.detach()
        self.axes = weight.ndim - 2  # 0 for a linear layer
        self.scale = (high - low) / 255
        self.zero_point = min(255, max(0, round(-low / self.scale)))
        self.offset = torch.tensor(self.zero_point + 0.5)
        matrix = weight.flatten(1)
        self.scales = (matrix.abs().amax(1) / 127).clamp(min=1e-12)
        self.zeros = torch.zeros(len(weight), dtype=torch.int8)
        rounded = (matrix / self.scales[:, None]).round().to(torch.int8)
        image = [1] * (2 - self.axes)
        rounded = rounded.view(*weight.shape[:2], *image, *weight.shape[2:])
        self.geometry: Any = [1, 1], [0, 0], [1, 1], 1
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            padding = [*[0] * (2 - self.axes), *_explicit_padding(layer)]
            self.geometry = [*image, *layer.stride], padding, [*image, *layer.dilation], layer.groups
        self.native = native_int8()
        self.rounded = rounded.float()
        prepack: Any = torch.ops.onednn.qconv_prepack
        self.packed = prepack(rounded, self.scales, self.scale, self.zero_point, *self.geometry, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 inputs as of the layer itself -> float32 outputs."""
        q = torch.add(self.offset, x, alpha=1 / self.scale).clamp_(0, 255).to(torch.uint8)  # which drops the fraction
        if self.axes == 0:
            q = q.flatten(0, -2)[:, :, None, None]
        elif self.axes == 1:
            q = q[:, :, None]
        q = q.contiguous(memory_format=torch.channels_last)
        y = self._convolve(q) if self.native else self._convolve_in_float32(q)
        if self.axes == 0:
            return y.reshape(*x.shape[:-1], -1)
        return y[:, :, 0] if self.axes == 1 else y

    def _convolve(self, q: Tensor) -> Tensor:
        inputs = (self.scale, self.zero_point, self.packed, self.scales, self.zeros, self.bias, *self.geometry)
        convolve: Any = torch.ops.onednn.qconv2d_pointwise
        y: Tensor = convolve(q, *inputs, 1.0, 0, torch.float32, "none", [], "")
        return y

    def _convolve_in_float32(self, q: Tensor) -> Tensor:
        products = nn.functional.conv2d(q.float() - self.zero_point, self.rounded, None, *self.geometry)
        y = products * (self.scales * self.scale)[:, None, None]
        return y if self.bias is None else y + self.bias[:, None, None]


def _explicit_padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Zeros on each side of each axis; `same` padding of an even kernel has one more behind, so it is not supported."""
    if not isinstance(layer.padding, str):
        return list(layer.padding)
    sides = [step * (size - 1) for step, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [0 if layer.padding == "valid" else side // 2 for side in sides]
