"""Which candidates of a table are relevant for which queries."""

import pytest

from jointembed.errors import UsageError
from jointembed.evaluation.retrieval_task import build_task

PAIRS = [
    {"id": "1", "split": "test", "audio": "A", "caption": ["a", "aa"]},
    {"id": "2", "split": "test", "audio": "B", "caption": ["b", "aa"]},
    {"id": "3", "split": "train", "audio": "C", "caption": ["c"]},
    {"id": "4", "split": "train", "audio": "A", "caption": "b"},
    {"id": "5", "split": "test", "audio": None, "caption": ["d", None, ""]},
    {"id": "6", "split": "test", "audio": "E"},
]


def relevant(task):
    return [task.relevant(query).tolist() for query in range(len(task.queries))]


def test_candidates_paired_with_a_query_by_any_row_are_relevant():
    task = build_task(PAIRS, "caption", "audio")
    assert task.queries == ["a", "aa", "b"] and task.candidates == ["A", "B", "E"]
    assert relevant(task) == [[0], [0, 1], [0, 1]]
    assert task.unanswerable == 1 and task.self_candidate.tolist() == [-1, -1, -1] and task.labels is None
    task = build_task(PAIRS, "audio", "caption", split="train", candidate_split="test")
    assert task.queries == ["A"] and task.candidates == ["a", "aa", "b", "d"]
    assert relevant(task) == [[0, 1, 2]] and task.unanswerable == 1
    assert build_task(PAIRS, "caption", "audio", split="all").candidates == ["A", "B", "C", "E"]


def test_candidates_that_share_a_label_are_relevant():
    rows = [
        {"song": "A", "genre": "waltz", "split": "test"},
        {"song": "B", "genre": "waltz", "split": "test"},
        {"song": "C", "genre": ["waltz", "polka"], "split": "test"},
        {"song": "D", "genre": "polka", "split": "train"},
        {"song": "E", "split": "test"},
        {"song": "A", "genre": "jig", "split": "train"},
        {"song": "F", "genre": "jig", "split": "test"},
    ]
    task = build_task(rows, "song", "song", "genre")
    assert task.queries == ["A", "B", "C"] and task.candidates == list("ABCEF") and task.unanswerable == 2
    assert relevant(task) == [[1, 2], [0, 2], [0, 1]] and task.self_candidate.tolist() == [0, 1, 2]
    assert task.labels is None  # C has two labels and cannot vote
    task = build_task(rows, "song", "song", "genre", split="all")
    assert dict(zip(task.queries, relevant(task), strict=True))["A"] == [1, 2, 5]
    task = build_task(rows, "song", "song", "genre", "test", "train")
    assert task.queries == ["C", "F"] and task.candidates == ["D", "A"]
    assert relevant(task) == [[0], [1]] and task.self_candidate.tolist() == [-1, -1]


def test_elements_of_a_list_retrieve_each_other_but_not_themselves():
    task = build_task([{"tags": ["a", "b", "c"]}, {"tags": "d"}], "tags", "tags", split="all")
    assert task.queries == ["a", "b", "c"] and relevant(task) == [[1, 2], [0, 2], [0, 1]] and task.unanswerable == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adio", "caption"), "did you mean audio"),
        (("audio", "x"), "no such column"),
        (("audio", "caption", "gen"), "gen"),
        (("audio", "caption", None, "tets"), "did you mean test"),
        (("audio", "caption", None, "test", "dev"), "dev"),
    ],
)
def test_unknown_columns_and_splits_are_reported(arguments, message):
    with pytest.raises(UsageError, match=message):
        build_task(PAIRS, *arguments)
