"""Write a model as safetensors and JSON, for others to load."""

from __future__ import annotations


def export(model: str, out: str, *, trust: list[str] | None = None) -> None:
    """Write a model as a folder for others: weights (safetensors), configuration and vocabularies (JSON), tokenizers.

    The folder holds no code and nothing pickled, and takes the place of a checkpoint in every command. A few golden
    vectors of each column are checked whenever it is loaded, so that an incomplete copy is refused.

    Args:
        model: a checkpoint, or the folder of a run.
        out: the folder to write.
        trust: a package whose encoders and readers the model may import.
    """
    from pathlib import Path

    from .. import files
    from ..sharing.export import export_model
    from ..space import checkpoint, exported
    from ..space.space import Space

    folder, file = Path(out), files.checkpoint(model)
    exported.check_free(folder)
    space = Space.load(file, trust or ())
    unchecked = export_model(checkpoint.read(file), space, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    columns = ", ".join([*space.columns, *space.fusions])
    print(f"{out}: {columns}; {space.dim} dimensions, {space.metric}; {size / 1e6:,.1f} MB")
    if unchecked:
        print(f"without golden vectors, because their readers make no example cells: {', '.join(unchecked)}")
