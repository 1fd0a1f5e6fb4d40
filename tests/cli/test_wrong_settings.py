"""Wrong settings of a recipe: each ends with exit code 2 and one line that names the setting and the fix."""

import json
import os
import sys

import pyarrow as pa
import pytest
from wrong_settings import (
    MODELS,
    WRONG,
    WRONG_TEXTS,
    bag,
    build,
    make_recipe,
    match,
    write_recipe,
    write_table,
    write_yaml,
)  # fmt: skip

from jointembed.__main__ import main
from jointembed.cli.errors import report
from jointembed.config import from_config
from jointembed.data.table import TableData
from jointembed.errors import UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Lightning, which the process of a command would not show
    pytest.mark.usefixtures("one_thread"),
]

# One of each kind; the others run with -m slow.
REPRESENTATIVE = [
    "model.lr=0",
    "model.warmup=5",
    "model.mixup={'audo': 0.4}",
    "model.encoders.audio.reader.n_mels=0",
    "model.encoders.audio.reader={'class_path': 'Category'}",
    "model.pools.history.dropout=1.1",
    "model.objectives=[]",
    "data.split='splt'",
    "data.cache='rows.jsonl'",
    "trainer.limit_train_batches=0",
    "trainer.val_check_interval=1000",
    "trainer.strategy='ddpp'",
    "seed_everything=-1",
    "  dim: 8\n='  dim: 8\\n  dim: 16\\n'",
]


def name_case(case):
    return f"{case[1]}={case[2]!r}"


CASES = [
    pytest.param(case, id=name_case(case), marks=[] if name_case(case) in REPRESENTATIVE else pytest.mark.slow)
    for case in WRONG + WRONG_TEXTS
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    write_table(folder)
    return folder


def fit(folder, monkeypatch, run, *options):
    monkeypatch.chdir(folder)
    words = {"--data.table": "rows.jsonl", "--trainer.default_root_dir": str(run)}
    rest = [word for option, value in words.items() if option not in options for word in (option, value)]
    return main(["fit", "-c", "r.yaml", *rest])


def test_each_representative_is_a_case():
    assert set(REPRESENTATIVE) <= set(map(name_case, WRONG + WRONG_TEXTS))
    assert len(WRONG + WRONG_TEXTS) >= 160


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_recipes_are_right_without_the_wrong_setting(name, table, tmp_path, monkeypatch, capsys):
    write_yaml(make_recipe(name), table)
    assert fit(table, monkeypatch, tmp_path / "run") == 0, capsys.readouterr().err


@pytest.mark.parametrize("case", CASES)
def test_wrong_setting_is_refused_in_one_line(case, table, tmp_path, monkeypatch, capsys):
    write_recipe(case, table)
    code = fit(table, monkeypatch, tmp_path / "run", f"--{case[1]}")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jointembed: ")]
    assert code == 2 and len(lines) == 1, lines
    assert ". Fix: " in lines[0] and all(words in lines[0] for words in case[3]), lines[0]
    assert not (tmp_path / "run" / "last.ckpt").exists()


OWN = """
import torch
from jointembed import EmbeddingBag, Encoder, LogMel, Loss, Reader
from jointembed.objectives import Objective

class Plain(Encoder):
    def __init__(self, reader, width: int = 4):
        super().__init__(reader, width)

class Mistaken(Objective):
    def __init__(self, at: str):
        super().__init__()
        self.at = at.upper(1) if at == "constructor" else at

    def columns(self):
        return ["words", "genre"]

    def forward(self, encoded, batch, space, dim=None):
        return undefined if self.at == "loss" else space.score(torch.zeros(1, 2), torch.zeros(1, 3)).mean()

class Vector(Objective):
    def columns(self):
        return ["words", "genre"]

    def forward(self, encoded, batch, space, dim=None):
        return encoded["words"].z

class Narrow(EmbeddingBag):
    def __init__(self, reader: Reader, width: int = 4):
        super().__init__(reader, width)

    def pieces(self, x):
        return super().pieces(x)[:, :2]

class Number(Loss):
    def forward(self, scores, positives, candidates=None):
        return scores.mean()

class Warp(LogMel):
    def augment(self, array, rng):
        return array[{"a": 1}["b"]]

class Cut(LogMel):
    def preprocess(self, cell):
        return super().preprocess(cell)[:, :3]
"""
MODULES = {
    "own.py": OWN.strip() + "\n",
    "imports.py": "import os\nimport zork\n",
    "mistyped.py": "import os\nclass A(:\n    pass\n",
    "stopping.py": "import imports_nothing\n",
    "imports_nothing.py": "x = undefined\n",
}
MEL = "init_args: {sample_rate: 8000, seconds: 0.5, n_mels: 16, n_fft: 256, hop_length: 128}"


@pytest.mark.parametrize(
    "words, tag, parts",
    [
        (["--model.objectives=[{class_path: own.Mistaken, init_args: {at: loss}}]"], "E-CODE",
         ("own.py, line 18, in forward: NameError: name 'undefined' is not defined",)),
        (["--model.objectives=[{class_path: own.Mistaken, init_args: {at: here}}]"], "E-CODE",
         ("own.py, line 18, in forward: ", "space.score(torch.zeros(1, 2)")),
        (["--model.objectives=[{class_path: own.Mistaken, init_args: {at: constructor}}]"], "E-CODE",
         ("own.py, line 12, in __init__: TypeError", "at.upper(1)")),
        (["--model.encoders.words={class_path: own.Plain, init_args: {reader: {class_path: BagOfWords}}}"], "E-USAGE",
         ("Plain: its reader must be a Reader, got dict", "reader: Reader")),
        (["--model.objectives=[{class_path: own.Mistaken}]"], "E-USAGE",
         ("model.objectives: Mistaken needs at, which is missing",)),
        (["--model.objectives=[{class_path: own.Vector}]"], "E-USAGE",
         ("Vector.forward: it must return a tensor of one number, got the shape (",)),
        (["--model.objectives=[{class_path: Match, init_args: {query: words, target: genre, loss: own.Number}}]"],
         "E-USAGE", ("Number.forward: it must return the shape (", "got the shape ()")),
        (["--model.encoders.words={class_path: own.Narrow, init_args: {reader: {class_path: BagOfWords}}}"], "E-USAGE",
         ("Narrow.pieces: it must return the shape (", ", 4), got the shape (", ", 2)")),
        ([f"--model.encoders.audio={{class_path: ConvNet, init_args: {{reader: {{class_path: own.Warp, {MEL}}}}}}}",
          "--data.workers=1"], "E-CODE", ("own.py, line 40, in augment: KeyError: 'b' in 'return array[", )),
        ([f"--model.encoders.audio={{class_path: ConvNet, init_args: {{reader: {{class_path: own.Cut, {MEL}}}}}}}",
          "--data.workers=1"], "E-USAGE", ("Cut.pieces: it must return the shape (31, 16), got the shape (31, 3)", )),
        (["--model.encoders.words=imports.A"], "E-CODE", ("imports.py, line 2: ModuleNotFoundError: No module",)),
        (["--model.encoders.words=mistyped.A"], "E-CODE", ("mistyped.py, line 2: SyntaxError: ", "class A(:")),
        (["--model.encoders.words=stopping.A"], "E-CODE", ("imports_nothing.py, line 1: NameError: ",)),
        (["--model.encoders.words={class_path: own.Narow}"], "E-USAGE", ("no class Narow", "mean Narrow?")),
        (["--model.encoders.words={class_path: owm.Narrow}"], "E-USAGE", ("the class owm.Narrow does not exist",)),
        (["--model.encoders.words={class_path: own.Number}"], "E-USAGE", ("own.Number is not derived from Encoder",)),
        (["--trainer.logger", "TensorBoardLogger"], "E-USAGE", ("needs save_dir", "--trainer.logger.save_dir")),
    ],
)  # fmt: skip
def test_a_mistake_in_own_code_is_named_by_its_line(table, monkeypatch, tmp_path, capsys, words, tag, parts):
    monkeypatch.syspath_prepend(tmp_path)
    for file, text in MODULES.items():
        (tmp_path / file).write_text(text)
        monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    bags = {"words": "BagOfWords", "genre": "Category"}
    recipe = {
        "model": {
            "dim": 4,
            "encoders": {name: bag(build(reader)) for name, reader in bags.items()},
            "objectives": [match("words", "genre")],
        },
        "data": {"split": None},
        "trainer": {"max_epochs": 1},
    }
    write_yaml(recipe, table)
    monkeypatch.chdir(table)
    run = ["--data.table", "rows.jsonl", "--trainer.default_root_dir", str(tmp_path / "run")]
    assert main(["fit", "-c", "r.yaml", *run, *words]) != 0
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith(f"jointembed: error[{tag}]: ") and all(part in err for part in parts), err


@pytest.mark.parametrize(
    "module, part",
    [
        ("imports", "imports.py, line 2"),
        ("mistyped", "mistyped.py, line 2"),
        ("stopping", "imports_nothing.py, line 1"),
    ],
)
def test_a_mistake_in_the_module_of_a_trained_class_is_named_by_its_line(module, part, monkeypatch, tmp_path, capsys):
    for file, text in MODULES.items():
        (tmp_path / file).write_text(text)
        monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((ImportError, SyntaxError, NameError)) as raised:
        from_config({"class_path": f"{module}.A"}, [module])
    assert report(raised.value) == 1
    assert part in capsys.readouterr().err


def test_an_error_of_compiled_code_is_not_one_of_own_code(capsys):
    with pytest.raises(TypeError) as raised:
        from_config({"class_path": "jointembed.Category", "init_args": {}}) and pa.field(None, pa.int64())
    assert report(raised.value) == 1
    assert "EnumTypeToPy" not in capsys.readouterr().err


def test_columns_may_be_called_like_the_values_of_yaml(monkeypatch, tmp_path, capsys):
    names = {"no": "genre", "yes": "words", "on": "age", "null": "genre", "1990": "words", "Off": "age"}
    rows = [{"genre": "abc"[n % 3], "words": f"w{n % 5} x", "age": n % 7} for n in range(24)]
    rows = [{name: row[source] for name, source in names.items()} for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "r.yaml").write_text(
        """
defaults: &bag {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
model:
  dim: 4
  lr: 1e-3
  encoders: {no: *bag, on: *bag, null: *bag, Off: *bag, yes: *bag, 1990: *bag}
  objectives:
    - {class_path: Match, init_args: {query: yes, target: no}}
    - {class_path: Match, init_args: {query: on, target: "null", candidates: all}}
    - {class_path: Match, init_args: {query: Off, target: '1990', candidates: all}}
data: {table: rows.jsonl, batch_size: 8, cache: null}
trainer: {max_epochs: 1, enable_progress_bar: false, accelerator: cpu}
""".replace("defaults: &bag", "#").replace("*bag", "{class_path: EmbeddingBag, init_args: {reader: Category}}")
    )
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", "r.yaml", "--data.group", "no", "--trainer.default_root_dir", "run"]) == 0
    assert main(["fit", "-c", "run/config.yaml", "--trainer.default_root_dir", "again"]) == 0
    with pytest.raises(UsageError, match=r"data\.split: it is null"):
        TableData("rows.jsonl", split=None, group="no")
    assert main(["fit", "-c", "r.yaml", "--trainer.enable_progress_bar", "maybe", "--data.group", "nope"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "trainer.enable_progress_bar: must be true or false, got maybe" in line


LEVELS = [f"b{level}: &b{level} [{', '.join([f'*b{level - 1}' if level else 'x'] * 10)}]" for level in range(9)]
RECIPES = {
    "nested deeply": ("[ " * 3_000, "it is nested too deeply"),
    "anchors of anchors": ("\n".join(LEVELS), "its anchors expand to more than 100,000 values"),
    "an anchor in itself": ("a: &a [*a]", "its anchors expand to more than 100,000 values"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_would_never_be_read_is_refused(name, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(RECIPES[name][0])
    assert main(["fit", "-c", "x.yaml"]) == 2
    assert f"error[E-USAGE]: x.yaml: {RECIPES[name][1]}. Fix: " in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("option", ["--config=", "--model=", "--data=", "--trainer.callbacks=", "--model.encoders="])
def test_no_option_waits_for_a_named_pipe(option, table, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    for words in ([option + "pipe.yaml"], option.split("=")[:1] + ["pipe.yaml"]):
        assert main(["fit", *words]) == 2
        assert "pipe.yaml: this is a named pipe, not a file. Fix: " in capsys.readouterr().err


def test_a_folder_whose_name_is_not_unicode_cannot_hold_a_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--trainer.default_root_dir=run\udcff"]) == 2
    assert r"--trainer.default_root_dir=run\udcff: it is not valid UTF-8" in capsys.readouterr().err


def test_more_memory_than_a_number_can_say_is_too_much(table, monkeypatch, capsys):
    monkeypatch.chdir(table)
    write_yaml(make_recipe("songs"), table)
    for dim in (2**62, 10**20):
        assert main(["fit", "-c", "r.yaml", "--data.table=rows.jsonl", f"--model.dim={dim}"]) == 2
        assert "memory: there is too little. Fix: lower model.dim" in capsys.readouterr().err


READER = "{class_path: BagOfWords}"
FORMS = [  # what is wrong in a recipe, what stands there, and what the error says
    (READER, "{init_args: {}}", "model.encoders.reader: it does not describe an object of the class Reader"),
    (READER, "{class_path: BagOfWords, init_args: {a: 1}}", "model.encoders.reader: BagOfWords has no option a"),
    (READER, "{class_path: BagOfWords, init_args: null}", "model.encoders.reader.init_args: it must be a mapping"),
    (READER, "{class_path: ''}", "model.encoders.reader.class_path: it must be the name of a class"),
    (READER, "{class_path: 5}", "model.encoders.reader.class_path: it must be the name of a class"),
    (
        "{class_path: Match, init_args: {query: a, target: b}}",
        "Category",
        "model.objectives: Category is not an Objective",
    ),
    ("target: b", "target: 5", "model.objectives.target: must be text, got 5"),
    ("dim: 4", "dims: 4", "model.dims: a recipe has no such key"),
    ("dim: 4", "lr: 0.1", "model.dim: it is missing. Fix: write it into the recipe, or give --model.dim"),
    (
        "dim: 4",
        "dim: !!python/name:os.system",
        "line 2 of the recipe: the tag tag:yaml.org,2002:python/name:os.system is",
    ),
    ("join: null", "join: rows", "data.join: must be a mapping, got rows"),
    ("table: a.jsonl, ", "", "data.table: it is missing. Fix: write it into the recipe, or give --data.table"),
]


@pytest.mark.parametrize(("old", "new", "message"), FORMS)
def test_a_key_of_another_form_is_named_without_the_words_of_the_parser(
    old, new, message, monkeypatch, tmp_path, capsys
):
    recipe = """model:
  dim: 4
  encoders: {a: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}}
  objectives: [{class_path: Match, init_args: {query: a, target: b}}]
data: {table: a.jsonl, join: null}
"""
    assert old in recipe
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(recipe.replace(old, new))
    assert main(["fit", "-c", "x.yaml"]) == 2
    line = capsys.readouterr().err
    assert f"error[E-USAGE]: {message}" in line and ". Fix: " in line and line.count("\n") == 1, line
