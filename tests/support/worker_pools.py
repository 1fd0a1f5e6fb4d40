"""What every answer of a pool of decoders keeps to."""

import numpy as np

CODES = {
    "", "empty", "no-audio", "truncated", "bad-rate", "bad-channels", "bad-format", "too-long", "too-short", "silent",
    "non-finite", "format-change", "encrypted", "unreadable", "timeout", "decoder-crash", "memory",
}  # fmt: skip


def check(decoded):
    """The promises of every answer."""
    assert decoded.reason in CODES, decoded
    if decoded.reason:
        assert decoded.samples is None and decoded.wrong and decoded.fix, decoded
        assert "\n" not in decoded.wrong
    else:
        assert decoded.samples.dtype == np.float32 and np.isfinite(decoded.samples).all()
        assert decoded.seconds >= 0.5
