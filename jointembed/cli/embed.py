"""`jointembed embed`: the vectors of a table's column."""

from __future__ import annotations

from ..files import check_writable, write


def embed(
    model: str, table: str, out: str, column: str | None = None, split: str = "all", trust: list[str] | None = None
) -> None:
    """Write the vectors of a table's column as parquet: id, and vector as a list of float32.

    Args:
        model: a checkpoint, or the folder of a run.
        table: a .jsonl, .csv or .parquet file, or a folder that holds rows.*; rows carry an id.
        out: the .parquet file to write.
        column: which column of the model to embed; the first that the table has if not given.
        split: rows of this split only; all rows if not given.
        trust: packages whose encoders and readers the model may import.
    """
    check_writable(out, "a table", ".parquet")
    import pyarrow as pa
    from pyarrow import parquet

    from ..data.table import opened
    from ..indexing.from_table import first, present
    from ..space.space import JointEmbedding

    rows = opened(table, model, divide=split != "all")
    space = JointEmbedding.load(model, trust or ())
    column = column or first(space, rows)
    listed = present(space, rows, column, split)
    vectors = space.embed(column, [cell for _, cell in listed])
    flat = pa.array(vectors.ravel(), pa.float32())
    made = pa.table(
        {"id": [row["id"] for row, _ in listed], "vector": pa.FixedSizeListArray.from_arrays(flat, space.dim)}
    )
    made = made.replace_schema_metadata({"model": space.fingerprint, "column": column, "metric": space.metric})
    write(out, lambda file: parquet.write_table(made, file))
    print(f"{out}: {len(listed)} vectors of {column}, {space.dim} dimensions")
