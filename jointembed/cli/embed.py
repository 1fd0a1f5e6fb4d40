"""Write the vectors of a table's column as Parquet."""

from __future__ import annotations

from functools import partial

ROWS_IN_PART, ROWS_IN_PART_OF_SOUNDS = 8_192, 256  # finished parts survive an interruption


def embed(
    model: str,
    table: str,
    out: str,
    *,
    column: str | None = None,
    split: str = "all",
    strict: bool = False,
    encoding: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Write the vectors of a table's column as Parquet, with the columns id and vector (a list of float32).

    An interrupted run resumes where it stopped.

    Args:
        model: a checkpoint, or the folder of a run.
        table: a .jsonl, .csv or .parquet file, or a folder with rows.*; its rows need an id.
        out: the .parquet file to write.
        column: the model's column to embed; the first that the table has if not given.
        split: the rows of this split only; all if not given.
        strict: exit with 3 if files cannot be read, instead of leaving their rows out.
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from ..files import check_not_input, check_writable, expand_user

    check_writable(out, "a table", ".parquet")
    check_not_input(out, expand_user(table))
    import pyarrow as pa

    from ..data.trained import open_as_trained
    from ..indexing.table_cells import first_column
    from ..indexing.table_parts import TableParts
    from ..space.device import resolve_device
    from ..space.space import Space
    from ..values import escape_surrogates
    from .parts_file import write_in_parts

    rows = open_as_trained(table, model, split != "all", encoding)
    space = Space.load(model, trust or ()).to(resolve_device(device))
    column = column or first_column(space, rows)
    parts = TableParts(space, rows, column, split, strict)
    size = ROWS_IN_PART_OF_SOUNDS if column in space.columns and space.reader(column).windowed else ROWS_IN_PART
    vector_type = pa.list_(pa.float32(), space.dim)
    metadata = {"model": space.fingerprint, "column": column, "metric": space.metric}
    schema = pa.schema({"id": pa.string(), "vector": vector_type}, metadata)

    def compute(start: int) -> pa.Table:
        part, vectors = parts.embed(start, size, partial(space.embed, column))
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), space.dim)
        return pa.table([pa.array([escape_surrogates(row["id"]) for row in part], pa.string()), values], schema=schema)

    signature = (metadata, parts.signature, str(space.device))
    whole = write_in_parts(out, len(parts), size, signature, f"Embedding {column}", compute, schema)
    print(f"{out}: {len(whole)} vectors of {column}, {space.dim} dimensions")
