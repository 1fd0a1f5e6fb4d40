"""Which columns a model has, and which encoder makes the vectors of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..errors import UsageError, did_you_mean
from ..objectives import Objective


def declared(
    encoders: Collection[str],
    objectives: Sequence[Objective],
    shared: Mapping[str, str],
    fused: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Each column that is encoded, and the name of its encoder.

    An encoder's name is a column, unless it only serves columns with names of their own.

    Args:
        encoders: their names.
        objectives: whose columns must all be there.
        shared: columns and the encoder that they share.
        fused: columns and the parts that they are made of.

    Raises:
        UsageError: a name stands for nothing.
    """
    asked = {column for objective in objectives for column in objective.columns()}
    asked |= {part for parts in fused.values() for part in parts}
    own = [name for name in encoders if name not in fused and (name not in shared.values() or name in asked)]
    found = {name: name for name in own} | dict(shared)
    for column, name in found.items():
        if name not in encoders:
            raise UsageError(f"columns.{column}", f"there is no encoder {name}", did_you_mean(name, encoders))
    for column in sorted(asked - set(found) - set(fused)):
        wrong = "an objective or a fused column names it, but nothing encodes it"
        raise UsageError(column, wrong, did_you_mean(column, [*found, *fused]))
    return found
