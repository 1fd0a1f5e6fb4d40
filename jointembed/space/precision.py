"""The precisions that the processor computes faster than float32."""

from __future__ import annotations

import os

import torch

# The units that multiply fast under a limit that the user sets for oneDNN; without one, or with AMX, all of them do.
_UNITS_OF_LIMIT = {
    "avx2_vnni": ("avx_vnni",),
    "avx512_core_vnni": ("avx512_vnni",),
    "avx512_core_bf16": ("avx512_vnni", "avx512_bf16"),
}


def native_bf16(device_type: str | None = None) -> bool:
    """Whether a device (`cuda`, `cpu`; the GPU if there is one) multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available() and device_type != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _has("avx512_bf16", "amx_bf16")


def native_int8() -> bool:
    """Whether the processor multiplies 8-bit integers exactly: older instructions saturate sums of two products."""
    return _has("avx512_vnni", "avx_vnni", "amx_int8")


def fast_precisions(device: torch.device) -> list[str]:
    """The precisions that a device computes faster than float32, the fastest first: `bfloat16`, `int8`.

    Matrix units (AMX) take bfloat16 as fast as 8-bit integers, which have to be rounded first; vector units take
    integers (VNNI) twice as fast.
    """
    if device.type != "cpu":
        return ["bfloat16"] if native_bf16() else []
    int8 = ["int8"] if native_int8() else []
    if _has("amx_bf16"):
        return ["bfloat16", *int8]
    return [*int8, *(["bfloat16"] if _has("avx512_bf16") else [])]


def _has(*units: str) -> bool:
    capabilities = torch.cpu.get_capabilities()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "default").lower()
    allowed = units if limit in ("default", "all") or "amx" in limit else _UNITS_OF_LIMIT.get(limit, ())
    return any(capabilities.get(unit) for unit in units if unit in allowed)
