"""Models on the Hub: the calls of huggingface_hub at the upload, its own cache at the download, and the model card."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import yaml
from shared_models import make_model, write_table
from tiny_models import fresh

from jointembed import Category, EmbeddingBag, JointEmbedding, Space
from jointembed.__main__ import main
from jointembed.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def home(tmp_path_factory, one_thread):
    folder = tmp_path_factory.mktemp("home")
    write_table(folder)
    return folder


@pytest.fixture(scope="module")
def model(home):
    return make_model(home)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache of huggingface_hub, into which uploads go as if they had been downloaded again."""
    folder = tmp_path / "cache"
    calls = []

    def create_repo(self, repo, **options):
        calls.append(("create_repo", repo, options))
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo}")

    def upload_folder(self, *, repo_id, folder_path, **options):
        calls.append(("upload_folder", repo_id, options))
        place = folder / f"models--{repo_id.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "blobs").mkdir()
        (place / "refs" / "main").write_text(COMMIT)
        for path in sorted(folder_path.rglob("*")):
            if path.is_file():
                blob = place / "blobs" / str(len(list((place / "blobs").iterdir())))
                shutil.copy(path, blob)
                link = place / "snapshots" / COMMIT / path.relative_to(folder_path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(blob)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder, calls


@pytest.fixture
def pushed(cache, model):
    folder, calls = cache
    assert model.push_to_hub("ann/songs", license="mit", private=True) == "https://huggingface.co/ann/songs"
    return folder, calls


def test_a_model_is_uploaded_in_one_commit_with_its_card(pushed):
    folder, calls = pushed
    assert [call[:2] for call in calls] == [("create_repo", "ann/songs"), ("upload_folder", "ann/songs")]
    assert calls[0][2]["private"] and calls[0][2]["exist_ok"]
    names = {path.name for path in folder.rglob("snapshots/*/*")}
    assert {"README.md", "config.json", "model.safetensors", "tokenizers"} <= names


@pytest.mark.slow
def test_a_fresh_process_takes_it_from_the_cache_without_network(pushed, model):
    texts = ["a slow waltz", "unheard"]
    expected = model.space.embed("caption", texts).tobytes().hex()
    done = fresh(
        f"""
        from jointembed import JointEmbedding
        model = JointEmbedding.from_pretrained("ann/songs", local_files_only=True)
        print(model.space.embed("caption", {texts!r}).tobytes().hex())
        """,
        HF_HUB_CACHE=str(pushed[0]),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


def test_a_revision_and_a_path_are_taken_too(pushed, model, tmp_path):
    space = JointEmbedding.from_pretrained("ann/songs", revision=COMMIT, local_files_only=True).space
    assert space.fingerprint == model.space.fingerprint
    model.export(tmp_path / "shared")
    model.save(tmp_path / "m.ckpt")
    for name in ("shared", "m.ckpt"):
        assert JointEmbedding.from_pretrained(tmp_path / name).space.fingerprint == space.fingerprint


def test_adopt_takes_a_model_of_the_hub_back(pushed, model, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(["adopt", "ann/songs", str(tmp_path / "back.ckpt")]) == 0
    assert Space.load(tmp_path / "back.ckpt").fingerprint == model.space.fingerprint


def test_a_space_alone_has_the_same_fingerprint_as_a_model_and_after_its_export(model, tmp_path):
    model.space.save(tmp_path / "space.ckpt")
    fingerprint = Space.load(tmp_path / "space.ckpt").fingerprint
    loaded = JointEmbedding.load(tmp_path / "space.ckpt")
    loaded.export(tmp_path / "shared")
    for space in (loaded.space, Space.load(tmp_path / "shared"), JointEmbedding.load(tmp_path / "shared").space):
        assert space.fingerprint == fingerprint
    plain = Space(4, {"genre": EmbeddingBag(Category())})
    plain.reader("genre").fit(["a", "b"])
    plain.build()
    plain.save(tmp_path / "plain.ckpt")
    assert JointEmbedding.load(tmp_path / "plain.ckpt").space.fingerprint == plain.fingerprint


@pytest.mark.parametrize("name", ["ann/other", "no such name", "no/such/folder", "missing.ckpt"])
def test_a_model_that_does_not_exist_is_one_line(cache, name):
    with pytest.raises(UsageError, match="Fix: "):
        JointEmbedding.from_pretrained(name, local_files_only=True)


def test_a_refusal_of_the_hub_is_one_line(model, monkeypatch):
    def refuse(self, repo, **options):
        raise ConnectionError("403 Forbidden\nmore")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(UsageError, match="403 Forbidden") as error:
        model.push_to_hub("ann/songs")
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="OWNER/NAME"):
        model.push_to_hub("songs")


RECIPE = """
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives: [{class_path: Match, init_args: {query: words, target: genre, candidates: all}}]
data: {table: rows.jsonl}
trainer:
  max_epochs: 2
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  callbacks: [{class_path: jointembed.Evaluate, init_args: {query: words, target: genre}}]
"""


@pytest.fixture(scope="module")
def card(home, one_thread):
    """The card of a run: its header and its text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        (home / "r.yaml").write_text(RECIPE)
        assert main("fit -c r.yaml --trainer.default_root_dir run".split()) == 0
        card = "run/genres.json"
        words = "evaluate run rows.jsonl --query words --target genre --split dev --card"
        assert main([*words.split(), card]) == 0
        assert main("export run shared --license apache-2.0".split()) == 0
    _, header, text = (home / "shared" / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(header), text


def test_the_header_is_what_the_hub_reads(card):
    assert card[0]["license"] == "apache-2.0" and card[0]["library_name"] == "jointembed"
    assert {"text", "tabular"} <= set(card[0]["tags"])


@pytest.mark.parametrize(
    "line",
    [
        "one space of 4 dimensions, compared by cosine",
        "| words | `BagOfWords(min_count=1, max_terms=100000)` | EmbeddingBag |",
        "- Table: rows.jsonl, 12 training rows, 4 dev rows, 0 test rows",
        "- Objective: `Match(query='words', target='genre', candidates='all', loss='softmax', weight=1.0)`",
        "- Steps: 2",
        "query words, target genre, split dev: ",
        "| metric | value | 95 % interval | chance |",
        "| words-genre/recall@1 |",
        "| dev/loss |",
        "jointembed index shared TABLE items.index",
        'JointEmbedding.from_pretrained("shared")',
        "| torch |",
        "apache-2.0",
    ],
)
def test_the_card_says(card, line):
    assert line in card[1]


def test_the_python_of_the_card_runs(card, home, monkeypatch):
    code = card[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(home)
    names = {}
    exec(code, names)
    assert names["vectors"].shape == (1, 4) and np.isfinite(names["vectors"]).all()


def test_an_evaluation_of_another_model_is_not_reported(home, card, capsys):
    shutil.copytree(home / "run", home / "again")
    path = home / "again" / "genres.json"
    report = json.loads(path.read_text())
    for name, metric in report["metrics"].items():
        interval = "" if metric["low"] is None else "{low:.4f} - {high:.4f}".format(**metric)
        assert f"| {name} | {metric['value']:.4f} | {interval} |" in card[1]
    path.write_text(path.read_text().replace(report["model"]["space"], "0" * 16))
    assert main(["export", str(home / "again"), str(home / "unwritten")]) == 4
    assert "evaluation of another model" in capsys.readouterr().err and not (home / "unwritten").exists()
