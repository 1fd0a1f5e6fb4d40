"""`jointembed evaluate`: retrieval figures with intervals and chance."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError


def evaluate(
    model: str,
    table: str,
    query: str | None = None,
    target: str | None = None,
    relevant: str | None = None,
    split: str = "test",
    against: str | None = None,
    k: str = "1,5,10",
    exclude: str | None = None,
    unit: str | None = None,
    dim: int | None = None,
    json: bool = False,
    trust: list[str] | None = None,
) -> None:
    """How well the cells of one column find those of another: hit@k, recall@k, precision@k, MAP, NDCG@k, knn@5.

    The candidates are the distinct cells of the target column. One is relevant if any row pairs it with an equal query
    cell, or, with --relevant, if the label is equal. The query itself never counts. Where the model answers the target
    by a network instead: rmse, mae and r2 of numbers, accuracy and its mean over the labels. Where query and target are
    one history and the model gives the probability of each piece: nats a piece, whose chance knows frequencies alone.

    Args:
        model: a checkpoint, or the folder of a run.
        table: a .jsonl, .csv or .parquet file, or a folder that holds rows.*.
        query: column of what asks.
        target: column of what is to be found; of labels, this is classification among all its values.
        relevant: column of a label that makes targets right.
        split: rows that ask; all takes every row.
        against: split of the rows that are candidates; the same as of those that ask if not given.
        k: how many hits are looked at, as a list with commas.
        exclude: column of what is no candidate for a row: the films that a user has seen.
        unit: column of what rows belong to (a user, a host, an artist), over which the intervals are then.
        dim: so many of the vectors' first dimensions only; `jointembed dims` measures several at once.
        json: print JSON.
        trust: packages whose encoders and readers the model may import.
    """
    from ..data.table import opened
    from ..evaluation import retrieval as figures
    from ..evaluation.retrieval_task import task as asked
    from ..evaluation.retrieval_task import units
    from ..indexing.from_table import paths
    from ..objectives.likelihood import judge
    from ..space.embed import complete
    from ..space.space import JointEmbedding
    from . import show
    from .likelihood import likelihood

    try:
        ks = tuple(sorted({int(one) for one in k.split(",")}))
        assert ks and ks[0] > 0
    except (ValueError, AssertionError) as error:
        raise UsageError("--k", f"{k} is no list of numbers above 0", "write it like 1,5,10") from error
    space = JointEmbedding.load(model, trust or ())
    if query is None or target is None:
        raise UsageError(
            "evaluate",
            "it needs two columns",
            f"give --query and --target, of {', '.join([*space.columns, *space.fused])}",
        )
    rows = opened(table, model)
    if dim is not None and not 0 < dim <= space.dim:
        raise UsageError("--dim", f"the vectors have {space.dim} dimensions, not {dim}", f"give 1 to {space.dim}")
    if target not in space.columns and target in space.answers:
        if dim is not None:
            raise UsageError("--dim", f"{target} is answered by a network, which takes whole vectors", "leave it out")
        print(show.figures(_answers(space, rows, query, target, split, unit), json))
        return
    if query == target and relevant is None and judge(space, query):
        print(show.figures(likelihood(space, rows, query, split, unit), json))
        return
    dicts = rows.dicts(None, paths(space))
    complete(space, dicts, query, target)
    task = asked(dicts, query, target, relevant, split, against, exclude, set(space.pools))
    queries = space.embed(query, task.queries)
    candidates = queries if task.candidates is task.queries else space.embed(target, task.candidates)
    # A prefix is brought to length 1 by the figures where the metric asks.
    asked_by, found_among = queries[:, :dim], candidates[:, :dim]
    found = figures.figures(task, asked_by, found_among, space.metric, ks, units=units(dicts, task, unit))
    print(show.figures(figures.report(found, task), json))


def _answers(space: Any, rows: Any, query: str, target: str, split: str, unit: str | None) -> dict[str, Any]:
    """The figures of what the model answers for the rows of a split."""
    import numpy as np

    from ..evaluation import prediction
    from ..indexing.from_table import present, trained
    from ..values import missing

    known = trained(rows, target, unit)
    kept = [(row, cell) for row, cell in present(space, rows, query, split) if not missing(row.get(target))]
    if not kept or not known:
        raise UsageError(
            target, f"no row of {split if known else 'train'} has it", "choose another --target or --split"
        )
    given = space.answer(query, [cell for _, cell in kept], target)
    units = [row.get(unit) for row, _ in kept] if unit else None
    if given.dtype.kind == "f":
        right = np.array([float(row[target]) for row, _ in kept])
        found = prediction.numbers(right, given, float(np.mean([float(cell) for cell in known])), units)
    else:
        names = [str(cell) for cell in known]
        common = max(set(names), key=lambda name: (names.count(name), name))
        found = prediction.labels([str(row[target]) for row, _ in kept], [str(one) for one in given], common, units)
    return {"figures": found, "queries": len(kept), "unanswerable": 0, "pool": len(set(map(str, known)))}
