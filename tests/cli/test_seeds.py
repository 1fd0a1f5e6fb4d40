"""`fit --seeds N` trains once for each seed, and `compare` reads the folders it writes."""

import json
import statistics

import pytest

from jointembed.__main__ import main
from jointembed.evaluation.card import Card

# Lightning asks torch in a way that torch is about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]

RECIPE = """\
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: words, target: genre, candidates: all, loss: {class_path: own_loss.Plain}}}
"""
LOSS = "from jointembed import Softmax\n\n\nclass Plain(Softmax):\n    pass\n"
FIT = ["fit", "-c", "recipe.yaml", "-c", "tiny", "--data.table", "rows.jsonl", "--trainer.default_root_dir"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, one_thread):
    """A folder with a table, a recipe, the loss it names, and runs of one and two seeds; the commands that ran."""
    folder, ran = tmp_path_factory.mktemp("trained"), []
    rows = [{"id": str(n), "split": "test" if n % 4 == 0 else "train", "words": f"{'abc'[n % 3] * 3} tune {n}",
             "genre": "xyz"[n % 3]} for n in range(40)]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "own_loss.py").write_text(LOSS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_here(patch, ran)
        assert main([*FIT, "runs/a", "--seeds", "1"]) == 0
        assert main([*FIT, "runs/b", "--seeds=2", "--model.lr", "0.3"]) == 0
    return folder, ran


def run_here(patch, ran):
    """Run commands in this process, which is faster, and list them."""

    def run(words):
        ran.append(words)
        assert main(words) == 0

    patch.setattr("jointembed.cli.processes.run_command", run)


@pytest.fixture
def place(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    return trained[0]


@pytest.fixture
def commands(monkeypatch):
    ran = []
    run_here(monkeypatch, ran)
    return ran


def test_each_seed_is_trained_and_evaluated(trained):
    folder, ran = trained
    assert [words[0] for words in ran] == ["fit", "evaluate"] * 3
    assert ran[1][-4:-2] == ["--trust", "own_loss"]  # the class of one's own has to be loaded again
    first, second = (Card.read(folder / f"runs/b/seed-{seed}/card.json").facts for seed in (0, 1))
    assert first["seeds"]["training"] == 0 and second["seeds"]["training"] == 1
    assert first["model"] != second["model"] and first["data"] == second["data"]


def test_runs_of_several_seeds_are_compared(place, capsys):
    values = [Card.read(path).facts["metrics"]["map"]["value"] for path in sorted(place.glob("runs/b/*/card.json"))]
    assert main(["compare", "runs/a", "runs/b", "--json", "--png", "c.png"]) == 0
    report = json.loads(capsys.readouterr().out)["metrics"]["map"]
    assert report["models"]["b"]["seeds"] == pytest.approx(values)
    (difference,) = report["differences"]
    higher = sum(value > report["models"]["a"]["seeds"][0] for value in values)
    assert (difference["seed_wins"], difference["seed_pairs"]) == (higher, 2)
    assert main(["compare", "runs/a", "runs/b"]) == 0
    out = capsys.readouterr().out
    assert f"{higher} of 2" in out and f"{min(values):.4f}  {statistics.median(values):.4f}  {max(values):.4f}" in out


def test_other_settings_and_other_rows_are_refused(place, commands, capsys):
    assert main([*FIT, "runs/a", "--seeds", "1", "--model.lr", "0.5"]) == 2
    assert "runs/a: it holds trainings with other settings" in capsys.readouterr().err and not commands
    card = json.loads((place / "runs/a/seed-0/card.json").read_text())
    card["question"]["split"] = "train"
    (place / "c/seed-0").mkdir(parents=True)
    (place / "c/seed-0/card.json").write_text(json.dumps(card))
    assert main(["compare", "runs/a", "c"]) == 2
    assert "--split is train, and test in runs/a/seed-0/card.json" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_command_goes_on(place, commands, capsys):
    paths = [place / f"runs/a/seed-{seed}/card.json" for seed in (0, 1)]
    before = paths[0].read_bytes()
    assert main([*FIT, "runs/a", "--seeds", "2"]) == 0
    assert paths[0].read_bytes() == before and paths[1].is_file()
    assert main([*FIT, "alone", "--seed_everything", "1", "--data.seed", "1"]) == 0
    assert main([*commands[-1][:1], "alone", *commands[-1][2:-1], "alone.json"]) == 0
    assert (place / "alone.json").read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds"], "--seeds: must be a whole number from 1 on, got ''"),
        (["--seeds", "0"], "--seeds: must be a whole number from 1 on, got '0'"),
        (["--seeds=3", "--resume", "auto"], "--resume: it cannot be used with --seeds"),
        (["--seeds=3", "--seed_everything=4"], "--seed_everything: it cannot be used with --seeds"),
        (["--evaluate", "--query words"], "--evaluate: it needs --seeds"),
        (["--seeds", "2", "--evaluate", "--querry words"], "--evaluate: --querry: jointembed evaluate has no such"),
        (["--seeds", "2", "--evaluate", "--query 'words"], "--evaluate: a quotation mark is not closed"),
        (["--seeds", "2", "--evaluate", "--card x.json"], "--evaluate: --card is set by --seeds"),
        (["--seeds", "2", "--model.dims", "3"], "unrecognized arguments: --model.dims 3"),
    ],
)
def test_wrong_options_are_one_line(place, commands, capsys, words, message):
    assert main([*FIT, "run", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not commands and not (place / "run").exists()


def test_nothing_to_evaluate_is_said_before_training(place, commands, capsys):
    rows = [json.loads(line) | {"split": "train"} for line in (place / "rows.jsonl").read_text().splitlines()]
    (place / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*FIT, "run", "--seeds", "2", "--data.table", "train.jsonl"]) == 2
    assert "has no test or dev rows" in capsys.readouterr().err and not commands


def test_a_folder_without_cards_is_named(place, capsys):
    assert main(["compare", ".", "x.json"]) == 2
    assert "the folder holds no seed-N/card.json" in capsys.readouterr().err
