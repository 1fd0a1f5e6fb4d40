"""A training whose objectives see no pair stops, or says so; it does not end with a loss of 0 and exit code 0."""

import json

import pytest

from jointembed.__main__ import main

RECIPE = """
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: BagOfWords}}
    artist: {class_path: EmbeddingBag, init_args: {reader: Category}}
    history: {class_path: EmbeddingBag, init_args: {reader: Category}}
  pools: {history: {class_path: GRU}}
  fusions: {song: [words, artist]}
  objectives: [%s]
data: {batch_size: %s}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
"""
PAIR = "{class_path: Match, init_args: {query: words, target: artist%s}}"
NEXT = "{class_path: NextItem, init_args: {history: history, candidates: all}}"
APART = [{"words": f"w{n % 5}", "history": [f"a{n % 3}", f"a{n % 4}"]} for n in range(20)]
APART += [{"artist": f"a{n % 3}", "year": n, "history": [f"a{n % 3}"]} for n in range(20)]
BOTH = [{"words": f"w{n % 5}", "artist": f"a{n % 3}", "history": [f"a{n % 3}"]} for n in range(20)]


@pytest.fixture
def fit(tmp_path, capsys):
    def run(rows, *objectives, batch_size=8, words=()):
        rows = [{"id": str(number), "split": "train"} | row for number, row in enumerate(rows)]
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (tmp_path / "r.yaml").write_text(RECIPE % (", ".join(objectives), batch_size))
        table = ["--data.table", str(tmp_path), "--trainer.default_root_dir", str(tmp_path / "run")]
        code = main(["fit", "-c", str(tmp_path / "r.yaml"), *table, *words])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (
            PAIR % "",
            ["objective words_artist: no train row has words and artist: of 40 rows", "20 have words, 20 have artist"],
        ),
        ("{class_path: Regression, init_args: {query: words, target: year}}", ["no train row has words and year"]),
    ],
)
def test_objective_whose_columns_no_row_has_stops_the_training(objective, words, fit):
    code, err = fit(APART, objective)
    assert code == 2 and all(part in err for part in words), err


def test_one_objective_without_rows_stops_it_too_unless_its_weight_is_zero(fit):
    code, err = fit(APART, NEXT, PAIR % "")
    assert code == 2 and "objective words_artist" in err
    code, err = fit(APART, NEXT, PAIR % ", weight: 0")
    assert code == 0 and "objective words_artist" not in err


def test_rows_may_match_by_another_column_or_through_a_fusion(fit, tmp_path):
    rows = [{**row, "artist": row.get("artist"), "album": n % 20 % 3} for n, row in enumerate(APART)]
    code, err = fit(rows, PAIR % ", positives_by: album")
    assert code == 0 and "nothing to learn" not in err, err
    fused = "{class_path: Match, init_args: {query: history, target: song}}"
    code, err = fit(APART, fused, words=["--trainer.default_root_dir", str(tmp_path / "b")])
    assert code == 0, err


def test_loss_of_zero_in_all_batches_stops_the_training(fit):
    code, err = fit(BOTH, NEXT)  # no list has a second item
    assert code == 2 and "objective history: the loss is 0 in each batch of the first epoch" in err
    code, err = fit(BOTH, PAIR % "", batch_size=1)  # no second candidate
    assert code == 2 and "objective words_artist: the loss is 0" in err and "batch size" in err


def test_loss_of_zero_beside_others_is_reported(fit):
    code, err = fit(BOTH, NEXT, PAIR % "")
    assert code == 0 and "warning: objective history: the loss is 0 in each batch of the first epoch" in err


def test_dev_rows_without_pairs_are_reported(fit):
    code, err = fit(BOTH + [{**row, "split": "dev"} for row in APART], PAIR % "")
    assert code == 0 and "warning: objective words_artist: no dev row has words and artist: of 40 rows" in err
