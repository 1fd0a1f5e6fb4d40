"""`jointembed init`: a recipe for a table."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError


def init(table: str, out: str = "my.yaml", group: str | None = None, force: bool = False) -> None:
    """Write a recipe for a table: what its columns seem to be, how each is read, and what could be learned of them.

    The recipe runs as it is, and says of each guess why. Where the table has no column split, 80 % of its rows are
    trained on, 10 % are `dev` and 10 % `test`, by a hash of their id, or of --group.

    Args:
        table: a .jsonl, .csv or .parquet file, or a folder that holds rows.*; rows carry an id.
        out: the .yaml file to write.
        group: column by which rows are split (artist, album, host), so that what belongs together stays together.
        force: write over a file that is there.
    """
    from ..data.rows import Rows
    from ..errors import escape_control
    from ..files import check_writable, write
    from ..recipe_writer.column_types import columns
    from ..recipe_writer.writer import Draft
    from . import show

    place = Path(out)
    check_writable(out, "a recipe", ".yaml", ".yml")
    if place.exists() and not force:
        raise UsageError(out, "the file is there already", "give another --out, or --force to write over it")
    rows = Rows.open(table)
    if "id" not in rows.columns:
        raise UsageError(rows.name, "its rows have no column id", "add one, with a different value in each row")
    if "split" not in rows.columns:
        group = group or "id"
        rows = rows.divided(group)
    elif group is not None:
        raise UsageError("--group", "the table has a column split already", "leave --group out")
    found = columns(rows)
    if "train" not in rows.cells("split"):
        wrong = f"none of its rows fell to train by {group}" if group else "no row has `train` in its column split"
        raise UsageError(rows.name, wrong, "add rows" if group else "add training rows, or take the column away")
    draft = Draft(rows, found, group)
    path = Path(table).expanduser().resolve()
    write(place, draft.yaml(str(path), place.stem))
    lines = [[one.name[:24], one.kind, escape_control(one.why)] for one in found if one.kind not in ("id", "split")]
    print(show.table([["column", "kind", "why"], *lines]))
    splits = [str(split) for split in rows.cells("split")]
    counts = ", ".join(f"{name} {splits.count(name)}" for name in ("train", "dev", "test"))
    print(f"\n{out}: objectives: {len(draft.objectives)}; rows: {counts}" + (f", split by {group}" if group else ""))
    if group and not splits.count("dev") * splits.count("test"):
        few = len(set(map(str, rows.cells(group))))
        print(f"warning: {few} values of {group} are so few that none fell to dev or test; add a column split yourself")
    print(f"try it:   jointembed fit -c {out} -c tiny --trainer.default_root_dir runs/tiny")
    print(f"train it: jointembed fit -c {out}")
