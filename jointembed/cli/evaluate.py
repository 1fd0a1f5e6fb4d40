"""Measure retrieval or prediction metrics with confidence intervals."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError


def evaluate(
    model: str,
    table: str,
    *,
    query: str | None = None,
    target: str | None = None,
    relevant: str | None = None,
    split: str = "test",
    candidates_split: str | None = None,
    k: str = "1,5,10",
    exclude: str | None = None,
    group: str | None = None,
    dim: int | None = None,
    json_: bool = False,
    trust: list[str] | None = None,
) -> None:
    """Measure how well the cells of one column retrieve those of another: hit@k, recall@k, NDCG@k, MAP, knn@5 ...

    The candidates are the distinct cells of the target column. A candidate is relevant if a row pairs it with an equal
    query cell or, with --relevant, if its label is equal. The query itself is never a candidate. If the model predicts
    the target with a network instead, reports RMSE, MAE and R2 of numbers, or accuracy and balanced accuracy of labels.
    For a sequence model (query = target), reports nats per step; the baseline uses training frequencies only.

    Args:
        model: a checkpoint, or the folder of a run.
        table: a .jsonl, .csv or .parquet file, or a folder with rows.*.
        query: the column of the queries.
        target: the column to retrieve; a column of labels makes this classification among all its values.
        relevant: a label column: candidates with the query's label are relevant.
        split: the rows that are queries; `all` for every row.
        candidates_split: the rows that are candidates; the same as the queries' if not given.
        k: the numbers of hits to evaluate, separated by commas.
        exclude: a column of items that are not candidates for a row, such as the films that a user has seen.
        group: a column such as artist or user; the intervals then resample its values instead of rows.
        dim: use only the first DIM dimensions of the vectors; `jointembed dims` measures several at once.
        json_: print JSON.
        trust: a package whose encoders and readers the model may import.
    """
    from ..data.table import opened
    from ..evaluation import retrieval
    from ..evaluation.retrieval_task import bootstrap_groups, build_task
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
        raise UsageError(
            "--k", f"must be positive numbers separated by commas, got {k!r}", "write it like 1,5,10"
        ) from error
    space = JointEmbedding.load(model, trust or ())
    if query is None or target is None:
        raise UsageError(
            "evaluate",
            "--query and --target are missing",
            f"give two of the model's columns: {', '.join([*space.columns, *space.fused])}",
        )
    rows = opened(table, model)
    if dim is not None and not 0 < dim <= space.dim:
        raise UsageError("--dim", f"must be between 1 and {space.dim}, got {dim}", "choose another number")
    if target not in space.columns and target in space.answers:
        if dim is not None:
            raise UsageError("--dim", f"{target} is predicted by a network, which needs whole vectors", "leave it out")
        print(show.figures(_answers(space, rows, query, target, split, group), json_))
        return
    if query == target and relevant is None and judge(space, query):
        print(show.figures(likelihood(space, rows, query, split, group), json_))
        return
    dicts = rows.dicts(None, paths(space))
    complete(space, dicts, query, target)
    task = build_task(dicts, query, target, relevant, split, candidates_split, exclude, set(space.pools))
    queries = space.embed(query, task.queries)
    candidates = queries if task.candidates is task.queries else space.embed(target, task.candidates)
    # The evaluation normalises prefixes if the metric is cosine.
    asked_by, found_among = queries[:, :dim], candidates[:, :dim]
    groups = bootstrap_groups(dicts, task, group)
    metrics = retrieval.evaluate(task, asked_by, found_among, space.metric, ks, groups=groups)
    print(show.figures(retrieval.report(metrics, task), json_))


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
        found = prediction.regression(right, given, float(np.mean([float(cell) for cell in known])), units)
    else:
        names = [str(cell) for cell in known]
        common = max(set(names), key=lambda name: (names.count(name), name))
        found = prediction.classification(
            [str(row[target]) for row, _ in kept], [str(one) for one in given], common, units
        )
    return {"metrics": found, "queries": len(kept), "unanswerable": 0, "pool": len(set(map(str, known)))}
