"""A loss and candidates of another package train like the built-in ones."""

import json
import sys

import lightning
import pytest
import torch
import yaml

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Loss, Match, NextItem, Sampled, TableData
from jointembed.__main__ import main
from jointembed.errors import UsageError

TRIPLET = '''
from jointembed import Loss


class Triplet(Loss):
    """The hardest negative must be a margin farther than the positives (Schroff et al. 2015)."""

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, scores, positives, candidates=None):
        wrong = positives > 0 if candidates is None else (positives > 0) | ~candidates
        right = (scores * positives).sum(1) / positives.sum(1).clamp(min=1)
        return (self.margin + scores.masked_fill(wrong, -1).amax(1) - right).clamp(min=0)
'''
ROWS = [
    {"id": str(number), "split": "train", "words": f"{genre} song number{number % 5}", "genre": genre}
    for number, genre in enumerate(["waltz", "reel", "jig", "blues"] * 8)
]


@pytest.fixture
def triplet(tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text(TRIPLET)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("my_losses").Triplet
    sys.modules.pop("my_losses")


@pytest.mark.parametrize("candidates", ["batch", "all", 8])
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_custom_loss_trains_among_any_candidates(triplet, candidates, tmp_path):
    lightning.seed_everything(0)
    encoders = {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}
    match = Match("words", "genre", candidates, triplet(margin=0.3))
    model = JointEmbedding(4, encoders, [match], lr=0.05, matryoshka_dims=[2, 4])
    trainer = lightning.Trainer(max_epochs=10, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(model, TableData(ROWS, batch_size=8))
    model.save(tmp_path / "model.ckpt")
    again = JointEmbedding.load(tmp_path / "model.ckpt", trust=["my_losses"])
    assert again.objectives[0].loss.margin == 0.3
    genres = ["waltz", "reel", "jig", "blues"]
    words = again.space.embed("words", [f"{genre} song number1" for genre in genres])
    assert (words @ again.space.embed("genre", genres).T).argmax(1).tolist() == [0, 1, 2, 3]


def test_recipe_names_a_custom_loss_and_candidates_by_class_path(triplet, tmp_path, capsys):
    def objective(**arguments):
        return {"class_path": "Match", "init_args": {"query": "words", "target": "genre", **arguments}}

    def bag(reader):
        return {"class_path": "EmbeddingBag", "init_args": {"reader": {"class_path": reader}}}

    recipe = {
        "model": {
            "dim": 4,
            "encoders": {"words": bag("BagOfWords"), "genre": bag("Category")},
            "objectives": [
                objective(loss={"class_path": "my_losses.Triplet", "init_args": {"margin": 0.4}}),
                objective(candidates={"class_path": "Sampled", "init_args": {"count": 5}}),
                objective(candidates=6, loss="sigmoid"),
                objective(candidates="all", loss={"class_path": "Softmax", "init_args": {"temperature": 0.2}}),
            ],
        },
        "data": {"table": str(tmp_path / "rows.jsonl"), "batch_size": 8},
        "trainer": {"max_epochs": 1, "default_root_dir": str(tmp_path / "run"), "enable_progress_bar": False,
                    "enable_model_summary": False, "log_every_n_steps": 1},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    assert main(["fit", "-c", str(tmp_path / "recipe.yaml")]) == 0, capsys.readouterr().err
    model = JointEmbedding.load(tmp_path / "run", trust=["my_losses"])
    triplet_, sampled, number, softmax = model.objectives
    assert triplet_.loss.margin == 0.4 and sampled.candidates.count == 5 and number.candidates.count == 6
    assert softmax.loss.temperature == 0.2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"candidates": 0}, "at least 1"),
        ({"candidates": "some"}, "all, batch or a number"),
        ({"loss": "softmx"}, "did you mean softmax"),
        ({"candidates": 8, "head": [3]}, "candidates: all"),
        ({"candidates": Sampled(8), "positives_by": "c"}, "candidates: batch"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_line(arguments, words):
    with pytest.raises(UsageError, match=words) as error:
        Match("a", "b", **arguments)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="candidates: all"):
        NextItem("a", "batch")


def test_loss_without_forward_says_what_to_write():
    with pytest.raises(UsageError, match="no method `forward`"):
        Loss()(torch.zeros(1, 1), torch.zeros(1, 1))
