"""Write a model as safetensors and JSON, for others to load."""

from __future__ import annotations

RUN_FILES = "best.ckpt", "last.ckpt"


def export(
    model: str, out: str, *, license_: str = "", onnx: bool = False, int8: bool = False, trust: list[str] | None = None
) -> None:
    """Write a model as a folder for others: weights (safetensors), configuration and vocabularies (JSON), tokenizers.

    The folder holds no code and nothing pickled, and takes the place of a checkpoint in every command. A few golden
    vectors of each column are checked whenever it is loaded, so that an incomplete copy is refused.

    README.md is a model card. It has the metrics of metrics.csv in the folder of the run, and, with their intervals, of
    the evaluation cards there (`jointembed evaluate RUN TABLE ... --card RUN/genres.json`).

    Args:
        model: a checkpoint, or the folder of a run.
        out: the folder to write.
        license_: the licence of the model, for its card, as the Hub names licences, such as apache-2.0.
        onnx: write each column as an ONNX graph too, from samples, pixels, numbers or token ids to its vector, checked
            with ONNX Runtime; what cannot be exported is named. `index` takes the folder OUT/onnx as a model.
        int8: with --onnx, also write graphs that compute in 8-bit integers, if their vectors have a cosine of at least
            0.999 to the exact ones.
        trust: a package whose encoders and readers the model may import.
    """
    from pathlib import Path

    from .. import files
    from ..errors import UsageError
    from ..sharing.export import export_model
    from ..sharing.model_card import About
    from ..space import checkpoint, exported
    from ..space.space import Space

    if int8 and not onnx:
        raise UsageError("--int8", "it is for ONNX graphs", "write --onnx too, or leave it out")
    folder, file = Path(out), files.checkpoint(model)
    exported.check_free(folder)
    space = Space.load(file, trust or ())
    run = file.parent if Path(model).is_dir() or file.name in RUN_FILES else None
    about = About(run, license_, folder.resolve().name)
    unchecked, graphs = export_model(checkpoint.read(file), space, folder, about, onnx, int8)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    columns = ", ".join([*space.columns, *space.fusions])
    print(f"{out}: {columns}; {space.dim} dimensions, {space.metric}; {size / 1e6:,.1f} MB")
    if unchecked:
        print(f"without golden vectors, because their readers make no example cells: {', '.join(unchecked)}")
    for graph in graphs:
        print(f"onnx: {graph}")
    print(f"next: hf upload OWNER/NAME {out}, or jointembed index {out} ...")
