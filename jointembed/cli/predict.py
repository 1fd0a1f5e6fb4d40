"""Write the vectors of a table's rows, or their likeliest labels."""

from __future__ import annotations

from ..errors import UsageError
from .fit import run_lightning


def predict(*words: str) -> None:
    """Write the vectors of a table's rows into vectors.parquet in the run folder; see `WriteVectors`.

    With --proba, write the likeliest labels instead, the -k best of each row; see `WriteProbabilities`.
    """
    from ..training.callbacks.write_probabilities import WriteProbabilities
    from ..training.callbacks.write_vectors import WriteVectors

    options, k = _take_k([word for word in words if word != "--proba"])
    if "--proba" not in words and k is not None:
        raise UsageError("-k", "it is the number of labels that --proba writes", "write --proba too, or leave it out")
    run_lightning("predict", options, [WriteProbabilities(k or 1) if "--proba" in words else WriteVectors()])


def _take_k(words: list[str]) -> tuple[list[str], int | None]:
    """The words without `-k K`, and K; None if it is not among them."""
    if "-k" not in words:
        return words, None
    place = words.index("-k")
    value = "".join(words[place + 1 : place + 2])
    if not value.isdecimal() or int(value) < 1:
        raise UsageError("-k", f"must be a whole number of at least 1, got {value!r}", "write it like -k 5")
    return words[:place] + words[place + 2 :], int(value)
