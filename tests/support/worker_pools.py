"""The promises of every result of a pool of decoders."""

import numpy as np

CODES = {
    "", "empty", "no-audio", "truncated", "bad-rate", "bad-channels", "bad-format", "too-long", "too-short", "silent",
    "non-finite", "format-change", "encrypted", "unreadable", "timeout", "decoder-crash", "memory",
}  # fmt: skip


def check(decoded):
    assert decoded.reason in CODES, decoded
    if decoded.reason:
        assert decoded.samples is None and decoded.problem and decoded.fix, decoded
        assert "\n" not in decoded.problem
    else:
        assert decoded.samples.dtype == np.float32 and np.isfinite(decoded.samples).all()
        assert decoded.seconds >= 0.5
