"""`jointembed evaluate`: retrieval figures with intervals and chance."""

from __future__ import annotations

from ..errors import Usage


def evaluate(
    model: str,
    table: str,
    query: str | None = None,
    target: str | None = None,
    relevant: str | None = None,
    split: str = "test",
    against: str | None = None,
    k: str = "1,5,10",
    json: bool = False,
    trust: list[str] | None = None,
) -> None:
    """How well the cells of one column find those of another: hit@k, recall@k, precision@k, MAP, NDCG@k, knn@5.

    The candidates are the distinct cells of the target column. One is relevant if any row pairs it with an equal query
    cell, or, with --relevant, if the label is equal. The query itself never counts.

    Args:
        model: a checkpoint, or the folder of a run.
        table: a .jsonl, .csv or .parquet file, or a folder that holds rows.*.
        query: column of what asks.
        target: column of what is to be found; of labels, this is classification among all its values.
        relevant: column of a label that makes targets right.
        split: rows that ask; all takes every row.
        against: split of the rows that are candidates; the same as of those that ask if not given.
        k: how many hits are looked at, as a list with commas.
        json: print JSON.
        trust: packages whose encoders and readers the model may import.
    """
    from ..find import evaluate as figures
    from ..learn.rows import Rows
    from ..learn.space import JointEmbedding
    from . import show
    from .table import paths

    try:
        ks = tuple(sorted({int(one) for one in k.split(",")}))
        assert ks and ks[0] > 0
    except (ValueError, AssertionError) as error:
        raise Usage("--k", f"{k} is no list of numbers above 0", "write it like 1,5,10") from error
    space = JointEmbedding.load(model, trust or ())
    if query is None or target is None:
        raise Usage(
            "evaluate",
            "it needs two columns",
            f"give --query and --target, of {', '.join([*space.columns, *space.fused])}",
        )
    rows = Rows.open(table)
    for column in (query, target):
        if column not in space.fused:
            space.encoder(column)
    task = figures.task(rows.dicts(None, paths(space)), query, target, relevant, split, against)
    queries = space.embed(query, task.queries)
    candidates = queries if task.candidates is task.queries else space.embed(target, task.candidates)
    found = figures.figures(task, queries, candidates, space.metric, ks)
    print(show.figures(figures.report(found, task), json))
