"""Which column of a space takes texts, sounds or images, as other libraries name what they pass on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import UsageError, did_you_mean
from ..readers.reader import Reader
from ..space.space import Space

MODALITIES: dict[str, Callable[[Reader], bool]] = {
    "text": lambda reader: reader.reads_text,
    "audio": lambda reader: reader.sample_rate is not None,
    "image": lambda reader: reader.reads_images,
}


def find_columns(space: Space, columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """The column of each modality that a space reads.

    Args:
        space: the space.
        columns: `text`, `audio` and `image` with their columns; of a modality that is not named, the column is taken
            that is called like it, or else the only one.

    Raises:
        UsageError: a modality or a column does not exist, or several columns read a modality that is not named.
    """
    result = dict(columns or {})
    for modality, column in result.items():
        if modality not in MODALITIES:
            raise UsageError(f"columns.{modality}", "this modality does not exist", did_you_mean(modality, MODALITIES))
        space.reader(column)
    for modality, reads in MODALITIES.items():
        names = [name for name in space.columns if reads(space.reader(name))]
        if modality in result or not names:
            continue
        if len(names) > 1 and modality not in names:
            wrong = f"several columns read it: {', '.join(names)}"
            raise UsageError(f"columns.{modality}", wrong, f"name one, as in columns={{{modality!r}: {names[0]!r}}}")
        result[modality] = modality if modality in names else names[0]
    return result
