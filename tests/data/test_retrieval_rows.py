"""The rows of a retrieval task during training give the task that the whole table gives."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.trainer.states import TrainerFn

from jointembed import (
    MLP,
    Category,
    CausalTransformer,
    EmbeddingBag,
    JointEmbedding,
    Match,
    Numbers,
    TableData,
)  # fmt: skip
from jointembed.data.retrieval_rows import retrieval_rows
from jointembed.errors import UsageError
from jointembed.evaluation.retrieval_task import build_task


def make_rows(seed=0, count=120):
    """Rows in which most cells are missing now and then, and some dev rows share their cells with training rows."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        row = {
            "id": str(number),
            "user": f"u{rng.integers(30)}",
            "item": int(rng.integers(25)),
            "tags": [f"t{tag}" for tag in rng.integers(0, 12, rng.integers(0, 4))],
            "history": [f"h{film}" for film in rng.integers(0, 3, rng.integers(1, 4))],
            "seen": [int(item) for item in rng.integers(0, 25, 3)],
            "size": float(rng.integers(4)),
            "weight": float(rng.integers(3)),
            "unused": "x" * 100,
        }
        row = {name: cell for name, cell in row.items() if name == "id" or rng.random() < 0.9}
        fold = ["train", "train", "train", "dev", "shop"][number % 5]
        rows.append(row | {"fold": fold} | ({"maker": "m"} if fold == "train" else {}))
    return rows


@pytest.fixture(scope="module", params=["file", "rows", "join", "composed"])
def data_and_space(request, tmp_path_factory):
    folder, rows, join = tmp_path_factory.mktemp("table"), make_rows(), None
    if request.param == "composed":  # some rows hold the cell of the fusion itself
        for row in rows[::3]:
            row["both"] = {name: row.pop(name) for name in ("user", "size", "weight") if name in row} or None
    if request.param == "join":
        items = [{"item": item, "price": f"p{item % 5}"} for item in range(20)]
        (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")
        join = {"item": str(folder / "items.jsonl")}
    if request.param != "rows":
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    names = ["user", "item", "tags", "history", *(["price"] if join else [])]
    encoders = {name: EmbeddingBag(Category()) for name in names} | {"facts": MLP(Numbers(["size", "weight"]))}
    model = JointEmbedding(
        4, encoders, [Match(names[-1], "item")], {name: name for name in encoders},
        pools={"history": CausalTransformer(4, 1, 1)}, fusions={"both": ["user", "facts"]},
    )  # fmt: skip
    data = TableData(
        rows if request.param == "rows" else str(folder / "rows.jsonl"), 8, "fold", join=join, cache=str(folder)
    )
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    data.trainer = SimpleNamespace(lightning_module=model, ckpt_path=None, state=state)
    data.setup("fit")
    return data, model.space


CASES = {  # query, target, label, excluded, split of the candidates
    "text": ("user", "item", None, None, None),
    "lists": ("tags", "user", None, None, None),
    "numbers": ("item", "tags", None, "seen", None),
    "labels": ("user", "tags", "item", None, None),
    "same column": ("tags", "tags", None, None, None),
    "sequence": ("history", "item", None, "history", None),
    "catalogue": ("user", "item", None, None, "shop"),
    "training rows": ("item", "user", None, None, "train"),
    "all": ("item", "user", None, None, "all"),
    "reader of columns": ("facts", "item", None, None, None),
    "fusion": ("both", "item", None, None, None),
    "target of columns": ("user", "facts", None, None, None),
    "joined": ("price", "user", None, None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_task_is_that_of_the_whole_table(case, data_and_space):
    data, space = data_and_space
    query, target, relevant, exclude, pool = CASES[case]
    if query not in [*space.columns, *space.fusions]:
        pytest.skip("no table is joined")
    used = retrieval_rows(data, space, query, target, relevant, exclude, pool)
    whole = data.dicts("train", "dev", *([pool] if pool else []))
    whole = [row | {"split": row["fold"]} for row in whole]
    tasks = []
    for rows in (used, whole):
        space.compose_cells(rows, query, target)
        tasks.append(build_task(rows, query, target, relevant, "dev", pool, exclude, set(space.pools)))
    assert tasks[0].queries == tasks[1].queries and len(tasks[0].queries)
    assert tasks[0].candidates == tasks[1].candidates
    assert tasks[0].unanswerable == tasks[1].unanswerable
    assert tasks[0].self_candidate.tolist() == tasks[1].self_candidate.tolist()
    for number in range(len(tasks[0].queries)):
        assert tasks[0].relevant(number).tolist() == tasks[1].relevant(number).tolist()
    assert not any("unused" in row for row in used)


def test_labels_need_no_training_row(data_and_space):
    data, space = data_and_space
    rows = retrieval_rows(data, space, "user", "item", "tags", None, None)
    assert {row["split"] for row in rows} == {"dev"}


def test_other_training_rows_become_no_dicts(data_and_space):
    data, space = data_and_space
    rows = retrieval_rows(data, space, "history", "item", None, "history", None)
    train = [row for row in rows if row["split"] == "train"]
    assert len(train) < len(data.numbers("train")) / 2 or not data.open().has_elements("history")
    if data.open().has_elements("history"):
        histories = [row.get("history") for row in rows if row["split"] == "dev"]
        assert train and all(row["history"] in histories for row in train)


def test_label_that_training_rows_alone_have_is_no_error(data_and_space):
    data, space = data_and_space
    rows = retrieval_rows(data, space, "user", "item", "maker", None, None)
    assert not build_task(rows, "user", "item", "maker", "dev").queries


def test_unknown_label_column_is_an_error(data_and_space):
    data, space = data_and_space
    with pytest.raises(UsageError, match="tagz: the table has no such column .*tags"):
        retrieval_rows(data, space, "user", "item", "tagz", None, None)
