"""Write a recipe for a table, from what its columns contain."""

from __future__ import annotations


def init(
    table: str,
    *,
    out: str = "my.yaml",
    group: str | None = None,
    encoding: str | None = None,
    force: bool = False,
) -> None:
    """Write a recipe for a table: the type of each column, an encoder for it, and objectives that can be learned.

    The recipe runs as it is, and a comment explains each guess. If the table has no column split, 80 % of its rows are
    used for training, 10 % are `dev` and 10 % `test`, by a hash of their id or of --group.

    Args:
        table: a .jsonl, .csv or .parquet file, or a folder with rows.*; its rows need an id.
        out: the .yaml file to write.
        group: the column to split by (artist, album, host), so that rows of one group stay in one split.
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        force: overwrite an existing file.
    """
    from pathlib import Path

    from ..data.rows import Rows
    from ..errors import UsageError
    from ..files import check_writable, expand_user, write
    from ..recipe_writer.column_types import infer_columns
    from ..recipe_writer.writer import RecipeWriter
    from .console import print_table

    place = Path(out)
    check_writable(out, "a recipe", ".yaml", ".yml")
    rows = Rows.open(table, encoding=encoding)
    if place.exists() and not force:
        raise UsageError(out, "this file exists already", "give another --out, or --force to overwrite it")
    if "id" not in rows.columns:
        raise UsageError(rows.name, "its rows have no column id", "add one, with a different value in each row")
    if "split" not in rows.columns:
        group = group or "id"
        rows = rows.with_split(group)
    elif group is not None:
        raise UsageError("--group", "the table has a column split already", "leave --group out")
    columns = infer_columns(rows)
    if "train" not in rows.cells("split"):
        if group:
            raise UsageError(rows.name, f"splitting by {group} left no row for training", "add rows")
        values = ", ".join(dict.fromkeys(str(split)[:20] for split in rows.cells("split")[:1000]))[:100]
        wrong = f"no row has `train` in its column split, which has {values}"
        raise UsageError(rows.name, wrong, "write train, dev and test, or remove the column split")
    writer = RecipeWriter(rows, columns, group)
    write(place, writer.write(str(expand_user(table).resolve()), place.stem, encoding))
    described = [[column.name, column.kind, column.why] for column in columns if column.kind not in ("id", "split")]
    print_table(["column", "kind", "why"], described)
    splits = [str(split) for split in rows.cells("split")]
    counts = ", ".join(f"{name} {splits.count(name)}" for name in ("train", "dev", "test"))
    print(f"\n{out}: {len(writer.objectives)} objectives; rows: {counts}" + (f", split by {group}" if group else ""))
    if group and not splits.count("dev") * splits.count("test"):
        count = len(set(map(str, rows.cells(group))))
        print(f"warning: {count} values of {group} are too few to fill dev and test; add a column split yourself")
    print(f"try it:   jointembed fit -c {out} -c tiny --trainer.default_root_dir runs/tiny")
    print(f"train it: jointembed fit -c {out}")
