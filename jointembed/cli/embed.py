"""Write the vectors of a table's column as Parquet."""

from __future__ import annotations

from typing import Any


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
    from ..files import check_writable, write

    check_writable(out, "a table", ".parquet")
    import pyarrow as pa
    from pyarrow import parquet

    from ..data.trained import open_as_trained
    from ..data.unreadable import skip_unreadable
    from ..indexing.table_cells import first_column, rows_with_cell
    from ..space.device import resolve_device
    from ..space.space import Space
    from ..values import escape_surrogates

    rows = open_as_trained(table, model, split != "all", encoding)
    space = Space.load(model, trust or ()).to(resolve_device(device))
    column = column or first_column(space, rows)

    def compute() -> tuple[list[str], Any]:
        pairs = rows_with_cell(space, rows, column, split)
        return [row["id"] for row, _ in pairs], space.embed(column, [cell for _, cell in pairs])

    ids, vectors = skip_unreadable(rows, space, [column], compute, strict)
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), space.dim)
    vector_table = pa.table({"id": list(map(escape_surrogates, ids)), "vector": values}).replace_schema_metadata(
        {"model": space.fingerprint, "column": column, "metric": space.metric}
    )
    write(out, lambda file: parquet.write_table(vector_table, file))
    print(f"{out}: {len(ids)} vectors of {column}, {space.dim} dimensions")
