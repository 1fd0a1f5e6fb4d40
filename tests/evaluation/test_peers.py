"""Metrics against those of scikit-learn, torchmetrics and ranx on random tasks, with ties and missing cells."""

import numpy as np
import pytest
from sklearn import metrics as peers

from jointembed.evaluation import prediction
from jointembed.evaluation.confusion import Confusion
from jointembed.evaluation.retrieval import score_queries
from jointembed.evaluation.retrieval_task import build_task

TASKS = 200
KS = (1, 3, 10)


def random_task(rng):
    """A task with missing cells, lists, and vectors of small integers, whose scores have many ties."""
    rows = []
    for at in range(int(rng.integers(8, 40))):
        row = {"split": "test", "song": f"s{at}", "words": [f"w{rng.integers(12)}" for _ in range(rng.integers(0, 3))]}
        row["tags"] = [f"t{rng.integers(4)}" for _ in range(rng.integers(0, 3))]
        rows.append({name: cell for name, cell in row.items() if name in ("split",) or rng.random() < 0.85})
    cases = [("words", "song"), ("song", "words"), ("song", "song", "tags"), ("words", "words", "tags")]
    task = build_task(rows, *cases[rng.integers(4)], list_columns=())
    shapes = (len(task.queries), 3), (len(task.candidates), 3)
    return task, *(rng.integers(-1, 2, shape).astype(float) for shape in shapes)


@pytest.fixture(scope="module")
def tasks():
    """The tasks that have queries, each with its scores, and the relevance and ranking of each query's candidates."""
    rng, results = np.random.default_rng(0), []
    while len(results) < TASKS:
        task, queries, candidates = random_task(rng)
        if not task.queries:
            continue
        scores = score_queries(task, queries, candidates, "dot", KS)
        order = np.random.default_rng(0).permutation(len(candidates))  # which breaks ties
        ranked = []
        for n, query in enumerate(queries):
            pool = [at for at in order if at != task.self_candidate[n]]
            pool.sort(key=lambda at: -float(candidates[at] @ query))  # stable
            ranked.append(np.isin(pool, task.relevant(n)))
        results.append((scores, ranked))
    assert sum(len(ranked) for _, ranked in results) > 1500
    return results


def test_retrieval_metrics_equal_scikit_learns(tasks):
    for scores, ranked in tasks:
        for length in {len(relevant) for relevant in ranked}:
            places = [at for at, relevant in enumerate(ranked) if len(relevant) == length]
            relevant = np.stack([ranked[at] for at in places])
            ranks = np.tile(-np.arange(length, dtype=float), (len(places), 1))
            expected = {"map": peers.label_ranking_average_precision_score(relevant, ranks)}
            for k in KS if length > 1 else ():
                expected[f"ndcg@{k}"] = peers.ndcg_score(relevant, ranks, k=k)
            for name, value in expected.items():
                own = scores.values[places, list(scores.names).index(name)].mean()
                assert own == pytest.approx(value, abs=1e-9), name


@pytest.mark.slow
def test_retrieval_metrics_equal_those_of_torchmetrics(tasks):
    import torch
    from torchmetrics.functional import retrieval

    for scores, ranked in tasks:
        for values, relevant in zip(scores.values[:3], ranked[:3], strict=True):
            pair = torch.arange(len(relevant), 0, -1, dtype=torch.float64), torch.from_numpy(relevant)
            expected = {"map": retrieval.retrieval_average_precision(*pair)}
            for k in KS:
                scale = relevant.sum() / min(k, relevant.sum())  # our recall is 1 if the first k are all relevant
                expected[f"hit@{k}"] = retrieval.retrieval_hit_rate(*pair, top_k=k)
                expected[f"ndcg@{k}"] = retrieval.retrieval_normalized_dcg(*pair, top_k=k)
                expected[f"precision@{k}"] = retrieval.retrieval_precision(*pair, top_k=k)
                expected[f"recall@{k}"] = retrieval.retrieval_recall(*pair, top_k=k) * scale
            for name, value in expected.items():
                own = values[list(scores.names).index(name)]
                assert own == pytest.approx(float(value), abs=1e-6), f"{name}, which torchmetrics computes in float32"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler of ranx
def test_retrieval_metrics_equal_those_of_ranx(tasks):
    ranx = pytest.importorskip("ranx")
    names = {f"ndcg@{k}": f"ndcg@{k}" for k in KS} | {f"hit_rate@{k}": f"hit@{k}" for k in KS} | {"map": "map"}
    names |= {f"precision@{k}": f"precision@{k}" for k in KS}
    for scores, ranked in tasks:
        qrels = {str(n): {str(at): 1 for at in np.flatnonzero(relevant)} for n, relevant in enumerate(ranked)}
        run = {str(n): {str(at): float(-at) for at in range(len(relevant))} for n, relevant in enumerate(ranked)}
        figures = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(names))
        for name, own in names.items():
            mean = scores.values[:, list(scores.names).index(own)].mean()
            assert mean == pytest.approx(float(figures[name]), abs=1e-9), name


def test_predictions_equal_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(TASKS):
        count = int(rng.integers(3, 60))
        true, predicted = rng.integers(0, 4, count).astype(float), rng.integers(0, 4, count) / 2
        if len(set(true)) > 1:
            figures = prediction.regression(true, predicted, 1.0, n_resamples=2)
            expected = {"mae": peers.mean_absolute_error(true, predicted), "r2": peers.r2_score(true, predicted)}
            expected["rmse"] = peers.root_mean_squared_error(true, predicted)
            assert {name: figure["value"] for name, figure in figures.items()} == pytest.approx(expected, abs=1e-9)
        labels, answers = (rng.choice(list("abcde"), count, p=[0.5, 0.2, 0.1, 0.1, 0.1]).tolist() for _ in range(2))
        figures = prediction.classification(labels, answers, "a", n_resamples=2)
        assert figures["accuracy"]["value"] == pytest.approx(peers.accuracy_score(labels, answers), abs=1e-9)
        recalls = peers.recall_score(labels, answers, labels=sorted(set(labels)), average=None, zero_division=0)
        assert figures["balanced"]["value"] == pytest.approx(recalls.mean(), abs=1e-9)
        confusion = Confusion.count(labels, answers)
        assert np.array_equal(confusion.matrix, peers.confusion_matrix(labels, answers, labels=confusion.labels))
        parts = peers.precision_recall_fscore_support(labels, answers, labels=confusion.labels, zero_division=0)
        for row in confusion.per_label():
            at = confusion.labels.index(row["label"])
            own = [row["precision"] or 0.0, row["recall"] or 0.0, row["f1"], row["rows"]]
            assert own == pytest.approx([part[at] for part in parts], abs=1e-9)


def test_calibration_error_equals_that_of_torchmetrics():
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(0)
    for _ in range(TASKS):
        confidences, correct = rng.uniform(0.5, 1, 40), rng.integers(0, 2, 40)
        own = prediction.expected_calibration_error(confidences, correct)
        peer = binary_calibration_error(torch.from_numpy(confidences), torch.from_numpy(correct), n_bins=15)
        assert own == pytest.approx(float(peer), abs=1e-6), "torchmetrics computes in float32"
