"""Measure retrieval or prediction metrics with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    classes: bool = False,
    png: str | None = None,
    card: str | None = None,
    json_: bool = False,
    strict: bool = False,
    encoding: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Measure how well the cells of one column retrieve those of another: hit@k, recall@k, NDCG@k, MAP, knn@5 ...

    The candidates are the distinct cells of the target column. A candidate is relevant if a row pairs it with an equal
    query cell or, with --relevant, if its label is equal. The query itself is never a candidate. If the model predicts
    the target with a network instead, reports RMSE, MAE and R2 of numbers, or accuracy, balanced accuracy and the
    expected calibration error (ece) of labels.
    For a sequence model (query = target), reports nats per step; the baseline uses training frequencies only.

    A card holds the metrics with hashes of the data, the split and the model, the versions, and the scores of each
    query, so that `jointembed compare` can test whether one model is better than another. The same command on the same
    machine writes the same bytes.

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
        classes: also print recall, precision and F1 of each label, and with which it is confused most often. The
            label is what a network predicts, or else the nearest candidate, where each query has one right answer.
        png: a .png file to draw the confusion matrix of the labels into.
        card: a .json file to write the card into.
        json_: print JSON.
        strict: exit with 3 if files cannot be read, instead of leaving them out.
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    from ..data.trained import open_as_trained
    from ..data.unreadable import skip_unreadable
    from ..evaluation import retrieval
    from ..evaluation.card import hash_answers
    from ..evaluation.retrieval_task import bootstrap_groups, build_task
    from ..files import check_writable
    from ..indexing.table_cells import path_columns
    from ..space.device import resolve_device
    from ..training.joint_embedding import JointEmbedding
    from .console import check_plot, print_metrics

    try:
        ks = tuple(sorted({int(number) for number in k.split(",")}))
    except ValueError:
        ks = ()
    if not ks or ks[0] < 1:
        raise UsageError("-k", f"must be positive numbers separated by commas, got {k!r}", "write it like 1,5,10")
    if card is not None:
        check_writable(card, "a card", ".json")
    check_plot(png)
    trained = JointEmbedding.load(model, trust or ()).to(resolve_device(device))
    space = trained.space
    if query is None or target is None:
        fix = f"give two of the model's columns: {', '.join([*space.columns, *space.fusions])}"
        raise UsageError("evaluate", "--query and --target are missing", fix)
    if dim is not None and not 0 < dim <= space.dim:
        raise UsageError("--dim", f"must be between 1 and {space.dim}, got {dim}", "choose another number")
    rows = open_as_trained(table, model, encoding=encoding)
    is_predicted = target not in space.columns and target in trained.predicted_columns
    if is_predicted and dim is not None:
        wrong = f"{target} is predicted by a network, which needs whole vectors"
        raise UsageError("--dim", wrong, "leave it out")

    def measure() -> _Evaluation:
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
        # `score_queries` normalizes prefixes if the metric is cosine.
        vectors = queries[:, :dim], candidates[:, :dim]
        scores = retrieval.score_queries(task, *vectors, space.metric, ks)
        groups = bootstrap_groups(dicts, task, group)
        report = retrieval.report(retrieval.summarize(task, scores, ks, groups=groups), task)
        units = groups or [dicts[row].get("id", row) for row in task.query_rows]
        cells = [(query, task.queries), (target, task.candidates)]
        labels = None
        if (classes or png is not None) and all(len(task.relevant(at)) == 1 for at in range(len(task.queries))):
            nearest = retrieval.nearest_candidates(task, *vectors, space.metric)
            answers = [int(task.relevant(at)[0]) for at in range(len(task.queries))]
            labels = [[str(task.candidates[at]) for at in places] for places in (answers, nearest)]
        return _Evaluation(report, scores, units, cells, dicts, lambda: hash_answers(task), labels)

    evaluation = skip_unreadable(rows, space, [query, target], measure, strict)
    if card is not None:
        question: dict[str, Any] = {"query": query, "target": target, "relevant": relevant, "split": split}
        question |= {"candidates_split": candidates_split, "exclude": exclude, "group": group, "k": ks}
        _write_card(card, evaluation, question, trained, model, dim, rows)
    if classes or png is not None:
        _add_classes(evaluation, target, png)
    print_metrics(evaluation.report, json_)


@dataclass(frozen=True)
class _Evaluation:
    """What was measured.

    Args:
        report: the metrics, and the numbers of queries and candidates.
        scores: of each of Q queries or rows.
        units: (Q,) the group, or else the id, of each.
        cells: the evaluated cells, with their columns.
        rows: of the table.
        hash_answers: gives a hash of the right answers.
        labels: the true and the predicted labels, (Q,) each, if each query has one right answer among labels.
    """

    report: dict[str, Any]
    scores: Any
    units: Sequence[Any]
    cells: Sequence[tuple[str, Sequence[Any]]]
    rows: Sequence[dict[str, Any]]
    hash_answers: Callable[[], str]
    labels: Sequence[Sequence[str]] | None = None


def _add_classes(evaluation: _Evaluation, target: str, png: str | None) -> None:
    """Add the metrics of each label to the report, and draw the confusion matrix."""
    from pathlib import Path

    from ..evaluation.confusion import Confusion, label_metrics

    if evaluation.labels is None:
        wrong = f"{target} has no single label for each query"
        raise UsageError("--classes", wrong, "leave --classes and --png out, or choose another --target")
    true, predicted = evaluation.labels
    confusion = Confusion.count(true, predicted)
    evaluation.report["classes"] = label_metrics(true, predicted, evaluation.units)
    evaluation.report["confusion"] = {"labels": confusion.labels, "matrix": confusion.matrix.tolist()}
    if png is not None:
        from ..analyze.confusion_plot import draw

        draw(Path(png), confusion, f"{target}: {evaluation.report['queries']:,} queries")


def _write_card(
    path: str, evaluation: _Evaluation, question: dict[str, Any], trained: Any, model: str, dim: int | None, table: Any
) -> None:
    """Write the card of an evaluation."""
    import torch

    from ..config import to_config
    from ..encoders.fingerprint import compute_fingerprint
    from ..evaluation import card
    from ..indexing.table_cells import path_columns

    space = trained.space
    columns = [column for column in (question["query"], question["target"]) if column in space.columns]
    columns += [part for column in (question["query"], question["target"]) for part in space.fusions.get(column, ())]
    readers = {column: space.reader(column) for column in columns}
    splits = [question["split"], question["candidates_split"] or question["split"]]
    device = str(space.device)
    facts = {
        "question": question,
        "data": {
            "table": table.digest,
            "split": card.hash_rows(evaluation.rows, splits),
            "cells": card.hash_cells(evaluation.cells, path_columns(space)),
            "answers": evaluation.hash_answers(),
        },
        "model": {
            "space": space.fingerprint,
            "whole": compute_fingerprint(trained.state(), trained.state_dict()),
            "preprocessing": {
                column: compute_fingerprint([to_config(reader), reader.state()], {})
                for column, reader in readers.items()
            },
            "dim": dim or space.dim,
            "metric": space.metric,
        },
        "seeds": {"training": _training_seed(model), "bootstrap": 0, "ties": 0},
        "versions": card.versions(),
        "machine": {
            **card.machine(),
            "device": f"{device} {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else device,
            "threads": torch.get_num_threads(),
        },
        "unit": question["group"] or "query",
        **{name: part for name, part in evaluation.report.items() if name not in ("classes", "confusion")},
    }
    card.Card(facts, list(map(str, evaluation.units)), evaluation.scores).write(path)


def _training_seed(model: str) -> int | None:
    """The seed in the configuration of a run folder; None for a checkpoint alone."""
    from pathlib import Path

    import yaml

    config = Path(model) / "config.yaml"
    seed = (yaml.safe_load(config.read_text("utf-8")) or {}).get("seed_everything") if config.is_file() else None
    return None if seed is None else int(seed)


def _measure_predictions(model: Any, rows: Any, query: str, target: str, split: str, group: str | None) -> _Evaluation:
    """The metrics of what the model predicts for the rows of a split."""
    import numpy as np

    from ..evaluation import card, prediction
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
        scores, both = prediction.regression_scores(truth, predicted), None
    else:
        names = [str(cell) for cell in training]
        commonest = max(set(names), key=lambda name: (names.count(name), name))
        labels = [str(row[target]) for row, _ in pairs]
        confidences = model.predict_proba(query, cells, target).max(1)
        answers, frequency = [str(label) for label in predicted], names.count(commonest) / len(names)
        metrics = prediction.classification(labels, answers, commonest, groups, confidences, frequency)
        scores, both = prediction.classification_scores(labels, answers), [labels, answers]
    report = {"metrics": metrics, "queries": len(pairs), "unanswerable": 0, "pool": len(set(map(str, training)))}
    truths = [row[target] for row, _ in pairs]
    return _Evaluation(
        report,
        scores,
        groups or [row["id"] for row, _ in pairs],
        [(query, cells)],
        rows.dicts(),
        lambda: card.hash_cells([(target, truths)], ()),
        both,
    )


def _measure_likelihood(
    objective: Any, space: Any, rows: Any, column: str, split: str, group: str | None
) -> _Evaluation:
    """Nats per step of a sequence model over the rows of a split, with an interval over rows or groups.

    Raises:
        UsageError: the table has no such column, or no row to evaluate or to compare with.
    """
    from ..evaluation import card, prediction
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
    report = {"metrics": metrics, "queries": len(pairs), "unanswerable": 0, "pool": space.reader(column).size}
    return _Evaluation(
        report,
        prediction.likelihood_scores(ours),
        groups or [row["id"] for row, _ in pairs],
        [(column, cells)],
        rows.dicts(),
        lambda: card.hash_cells([(column, cells)], ()),
    )
