"""The device that computes: an accelerator where there is one."""

from __future__ import annotations

import torch

from ..errors import UsageError


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a name: `auto` for the accelerator if there is one, `cpu`, `cuda`, `cuda:1`, `mps` and so on.

    Raises:
        UsageError: there is no such device.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    counts = {"cpu": 1} | ({accelerator.type: torch.accelerator.device_count()} if accelerator else {})
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (device.index or 0) >= counts.get(device.type, 0):
        names = [kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}" for kind, count in counts.items()]
        wrong = f"this computer has no device {name!r} for torch, but {', '.join(names)}"
        raise UsageError("--device", wrong, "give one of these, or leave it out")
    return device
