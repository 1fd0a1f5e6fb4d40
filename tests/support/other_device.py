"""A device that is not the CPU, for tests on a computer that has none: it refuses what a GPU would refuse.

A `Moved` is a tensor of the device `meta` that holds its values in a tensor of the CPU, where it computes. An operation
on tensors of both devices is an error, as is a `Moved` as a numpy array.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
aten = torch.ops.aten
# Tensors of the CPU may be indices of those elsewhere, and values may be copied from one device to another.
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor}


class Moved(torch.Tensor):
    """A tensor on the other device."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(
            cls, values.size(), values.stride(), values.storage_offset(), dtype=values.dtype, device=DEVICE
        )

    def __init__(self, values):
        self.values_here = values

    def __repr__(self):
        return f"Moved({self.values_here!r})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return compute(function, args, kwargs or {})


def compute(function, args, kwargs):
    """The result of an operation, on the device of its tensors."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    moved = [tensor for tensor in tensors if isinstance(tensor, Moved)]
    kwargs = dict(kwargs)
    target = kwargs.get("device")
    if function is aten._to_copy.default:
        goes = torch.device(target).type == DEVICE.type if target is not None else bool(moved)
    elif function is aten.copy_.default:
        goes = isinstance(args[0], Moved)
    elif tensors:
        here = [tensor for tensor in tensors if not isinstance(tensor, Moved) and tensor.dim()]
        allowed = function in INDEXING and isinstance(args[0], Moved)
        if moved and here and not allowed:
            shapes = [(type(tensor).__name__, tuple(tensor.shape)) for tensor in tensors]
            raise RuntimeError(f"{function}: tensors on different devices: {shapes}")
        goes = bool(moved)
    else:
        goes = target is not None and torch.device(target).type == DEVICE.type
    if "device" in kwargs and (goes or moved):
        kwargs["device"] = torch.device("cpu")
    unwrap = lambda leaf: leaf.values_here if isinstance(leaf, Moved) else leaf  # noqa: E731
    result = function(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    if not goes:
        return result
    wrappers = {id(tensor.values_here): tensor for tensor in moved}  # operations in place return their argument
    wrap = lambda leaf: wrappers[id(leaf)] if id(leaf) in wrappers else Moved(leaf)  # noqa: E731
    return tree_map(lambda leaf: wrap(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)


class _Factories(TorchDispatchMode):
    """Makes new tensors on the other device, too."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        with self:  # in inference mode operations come here before torch has split them up
            result = function.decompose(*args, **(kwargs or {}))
        return compute(function, args, kwargs or {}) if result is NotImplemented else result


def submit_here(pool, function, *args):
    """Compute at once: in another thread torch would not know of the other device."""
    future = Future()
    future.set_result(function(*args))
    return future


@contextmanager
def other_device():
    """The device, as long as the block lasts; the one of torch that autocast does not know, as it computes nothing."""
    autocast, enabled = torch.autocast, torch.is_autocast_enabled
    here = lambda name: "cpu" if name == DEVICE.type else name  # noqa: E731
    with (
        mock.patch.object(torch, "autocast", lambda name, *args, **more: autocast(here(name), *args, **more)),
        mock.patch.object(torch, "is_autocast_enabled", lambda name=None: enabled(here(name)) if name else enabled()),
        mock.patch.object(torch, "inference_mode", torch.no_grad),  # under which torch refuses some wrapped tensors
        mock.patch.object(ThreadPoolExecutor, "submit", submit_here),
        _Factories(),
    ):
        yield DEVICE
