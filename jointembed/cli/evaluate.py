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
    strict: bool = False,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Measure how well the cells of one column retrieve those of another: hit@k, recall@k, NDCG@k, MAP, knn@5 ...

    The candidates are the distinct cells of the target column. A candidate is relevant if a row pairs it with an equal
    query cell or, with --relevant, if its label is equal. The query itself is never a candidate. If the model predicts
    the target with a network instead, reports RMSE, MAE and R2 of numbers, or accuracy, balanced accuracy and the
    expected calibration error (ece) of labels.
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
        strict: exit with 3 if files cannot be read, instead of leaving them out.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from ..data.table import open_as_trained
    from ..data.unreadable import skip_unreadable
    from ..evaluation import retrieval
    from ..evaluation.retrieval_task import bootstrap_groups, build_task
    from ..indexing.table_cells import path_columns
    from ..space.device import resolve_device
    from ..training.joint_embedding import JointEmbedding
    from .console import print_metrics

    try:
        ks = tuple(sorted({int(number) for number in k.split(",")}))
    except ValueError:
        ks = ()
    if not ks or ks[0] < 1:
        raise UsageError("-k", f"must be positive numbers separated by commas, got {k!r}", "write it like 1,5,10")
    trained = JointEmbedding.load(model, trust or ()).to(resolve_device(device))
    space = trained.space
    if query is None or target is None:
        fix = f"give two of the model's columns: {', '.join([*space.columns, *space.fusions])}"
        raise UsageError("evaluate", "--query and --target are missing", fix)
    if dim is not None and not 0 < dim <= space.dim:
        raise UsageError("--dim", f"must be between 1 and {space.dim}, got {dim}", "choose another number")
    rows = open_as_trained(table, model)
    is_predicted = target not in space.columns and target in trained.predicted_columns
    if is_predicted and dim is not None:
        wrong = f"{target} is predicted by a network, which needs whole vectors"
        raise UsageError("--dim", wrong, "leave it out")

    def measure() -> dict[str, Any]:
        if is_predicted:
            return _measure_predictions(trained, rows, query, target, split, group)
        if query == target and relevant is None and (likelihood := trained.likelihood_objective(query)):
            return _measure_likelihood(likelihood, space, rows, query, split, group)
        dicts = rows.dicts(None, path_columns(space))
        space.compose_cells(dicts, query, target)
        task = build_task(dicts, query, target, relevant, split, candidates_split, exclude, set(space.pools))
        if not task.queries:
            wrong = f"no row of {split} has a {query} and a relevant {target} among the candidates"
            if query == target and relevant is None:
                wrong = f"no row has two cells of {query}, which is the target too"
            raise UsageError("evaluate", wrong, "give --relevant, a column of labels, or another --split or --target")
        queries = space.embed(query, task.queries)
        candidates = queries if task.candidates is task.queries else space.embed(target, task.candidates)
        # `retrieval.evaluate` normalizes prefixes if the metric is cosine.
        prefix = queries[:, :dim], candidates[:, :dim]
        groups = bootstrap_groups(dicts, task, group)
        return retrieval.report(retrieval.evaluate(task, *prefix, space.metric, ks, groups=groups), task)

    print_metrics(skip_unreadable(rows, space, [query, target], measure, strict), json_)


def _measure_predictions(
    model: Any, rows: Any, query: str, target: str, split: str, group: str | None
) -> dict[str, Any]:
    """The metrics of what the model predicts for the rows of a split."""
    import numpy as np

    from ..evaluation import prediction
    from ..indexing.table_cells import rows_with_cell, training_cells
    from ..values import missing

    training = training_cells(rows, target, group)
    pairs = [
        (row, cell) for row, cell in rows_with_cell(model.space, rows, query, split) if not missing(row.get(target))
    ]
    if not pairs or not training:
        wrong = f"no row of {split if training else 'train'} has it"
        raise UsageError(target, wrong, "choose another --target or --split")
    cells = [cell for _, cell in pairs]
    predicted = model.predict(query, cells, target)
    groups = [row.get(group) for row, _ in pairs] if group else None
    if predicted.dtype.kind == "f":
        truth = np.array([float(row[target]) for row, _ in pairs])
        mean = float(np.mean([float(cell) for cell in training]))
        metrics = prediction.regression(truth, predicted, mean, groups)
    else:
        names = [str(cell) for cell in training]
        commonest = max(set(names), key=lambda name: (names.count(name), name))
        labels = [str(row[target]) for row, _ in pairs]
        confidences = model.predict_proba(query, cells, target).max(1)
        answers, frequency = [str(label) for label in predicted], names.count(commonest) / len(names)
        metrics = prediction.classification(labels, answers, commonest, groups, confidences, frequency)
    return {"metrics": metrics, "queries": len(pairs), "unanswerable": 0, "pool": len(set(map(str, training)))}


def _measure_likelihood(
    objective: Any, space: Any, rows: Any, column: str, split: str, group: str | None
) -> dict[str, Any]:
    """Nats per step of a sequence model over the rows of a split, with an interval over rows or groups.

    Raises:
        UsageError: the table has no such column, or no row to evaluate or to compare with.
    """
    from ..evaluation import prediction
    from ..indexing.table_cells import rows_with_cell, training_cells
    from ..objectives.likelihood import frequency_baseline, negative_log_likelihoods

    training, pairs = training_cells(rows, column, group), rows_with_cell(space, rows, column, split)
    if not training:
        raise UsageError(column, "no row of train has it", "give the table that the model was trained on")
    cells = [cell for _, cell in pairs]
    ours = negative_log_likelihoods(objective, space, column, cells)
    baseline = frequency_baseline(space, column, training, cells)
    groups = [row.get(group) for row, _ in pairs] if group else None
    metrics = prediction.likelihood(ours, baseline, groups)
    return {"metrics": metrics, "queries": len(pairs), "unanswerable": 0, "pool": space.reader(column).size}
