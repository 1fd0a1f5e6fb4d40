"""Wrong command lines, tables, files and folders: each ends with one line that says what is wrong and how to mend it.

The cases are made from the signatures of all commands, so that a new command or option brings its own.
"""

import json
import os
import re
import shutil
import typing

import numpy as np
import pytest
import soundfile

from jointembed import BagOfWords, Category, ConvNet, EmbeddingBag, JointEmbedding, LogMel, Match, Space
from jointembed.__main__ import main
from jointembed.cli import help, parser

pytestmark = pytest.mark.usefixtures("one_thread")

# A right command line of each command. Names are of files that `home` writes.
RIGHT = {
    "adopt": "hf out.ckpt",
    "cache": "rows.jsonl",
    "cluster": "s.index --k 2 --dry-run",
    "check": "m.ckpt rows.jsonl",
    "compare": "c.json d.json",
    "completion": "bash",
    "docs": "out.docs",
    "dims": "rows.jsonl --model m.ckpt --query words --target genre --split all",
    "embed": "m.ckpt rows.jsonl out.parquet --column words",
    "evaluate": "m.ckpt rows.jsonl --query words --target genre --split all",
    "export": "m.ckpt out.shared",
    "fit": "-c r.yaml --data.table rows.jsonl --trainer.default_root_dir run",
    "index": "m.ckpt rows.jsonl out.index --column words",
    "init": "rows.jsonl --out out.yaml",
    "neighbors": "s.index out.parquet",
    "page": "s.index out.html",
    "path": "s.index r0 r5",
    "predict": "-c r.yaml --data.table rows.jsonl --ckpt_path m.ckpt",
    "projector": "s.index out",
    "prune": "songs.index",
    "recipes": "tiny",
    "reproduce": "",
    "runs": "tried",
    "search": "s.index fiddle",
    "serve": "s.index --port 0",
    "show": "l.ckpt music/0.wav",
    "similar": "s.index r0",
    "skips": "songs.index",
    "sweep": "r.yaml --study out.db --set model.lr=0.1,0.2",
    "test": "-c r.yaml --data.table rows.jsonl --ckpt_path m.ckpt",
    "validate": "-c r.yaml --data.table rows.jsonl --ckpt_path m.ckpt",
    "verify": "s.index",
}
LIGHTNING = {"fit", "validate", "test", "predict"}
FILES = ["no/where", "folder", "empty", "text", "binary", "cut", "pipe"]  # `cut` is the first half of the file
NUMBERS = {int: ["x", "1.5", "-1", "99999999999999999999999"], float: ["x", "nan", "-1", "inf"]}
INPUT = re.compile(r"(c|l|m|hf|r|s|songs|rows|tried|music/0)(\.\w+)?")
NOTHING_WRONG = re.compile(  # what only looks wrong
    r"cache rows.jsonl: (?!no/where)"  # it lists what is cached of a table, and does not read it
    r"|index --field (no/such|-1)"  # a field of a new index may have any name
    r"|(index --max-windows|(page|show) -k|check --rows) 9+"  # at most so many: all
    r"|show music/0.wav: cut"  # it is heard as far as it goes
    r"|adopt hf: no/where"  # a model on the Hub
)


def swap(words, place, value):
    return [*words[:place], value, *words[place + 1 :]]


def make_cases():
    """The words of wrong command lines, by their names; `@NAME` is replaced by a broken file."""
    cases = {}
    for name, line in RIGHT.items():
        words = line.split()
        inputs = [at for at, word in enumerate(words) if INPUT.fullmatch(word)]
        for at in inputs:
            for kind in FILES:
                cases[f"{name} {words[at]}: {kind}"] = [name, *swap(words, at, f"@{kind}:{words[at]}")]
        cases[f"{name} --unknown"] = [name, *words, "--unknown", "1"]
        if name in LIGHTNING:
            continue
        parameters = parser.read_parameters(parser.load(name))
        places = [at for at, word in enumerate(words) if not word.startswith("-")][
            : sum(p.positional for p in parameters)
        ]
        if places and name not in ("demo", "recipes"):
            cases[f"{name} without {words[0]}"] = [name, *words[1:]]
        if not any(parameter.repeated and parameter.positional for parameter in parameters):
            cases[f"{name} with one word more"] = [name, *words, "more"]
        for at in places:
            cases[f"{name} empty {at}"] = [name, *swap(words, at, "")]
        for parameter in parameters:
            if parameter.positional:
                continue
            flag = parameter.flag
            if parameter.kind is bool:
                cases[f"{name} {flag}=1"] = [name, *words, f"{flag}=1"]
                continue
            cases[f"{name} {flag} without value"] = [name, *words, flag]
            values = NUMBERS.get(parameter.kind, ["no/such", "", "-1"])
            if typing.get_origin(parameter.kind) is typing.Literal:
                values = ["zzz", ""]
            for value in values:
                cases[f"{name} {flag} {value}"] = [name, *words, f"{flag}={value}"]
    return {name: words for name, words in cases.items() if not NOTHING_WRONG.match(name)}


CASES = make_cases()


@pytest.fixture(scope="module")
def home(tmp_path_factory, one_thread):
    """A table, a model, an index of the table, a folder of sounds and its index, a recipe, and broken files."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    rows = []
    for n in range(12):
        genre = ["waltz", "reel", "blues"][n % 3]
        rows.append({"id": f"r{n}", "words": f"{genre} fiddle {n % 4}", "genre": genre, "title": f"Tune {n}",
                     "artist": f"A{n % 4}", "tempo": 60 + n, "split": ["train", "dev"][n % 4 == 3]})  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "music").mkdir()
    for n in range(3):
        soundfile.write(folder / "music" / f"{n}.wav", rng.normal(0, 0.1, 4000).astype(np.float32), 8000)
    mel = LogMel(8000, 0.5, n_mels=16, n_fft=256, hop_length=128)
    encoders = {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category()), "audio": ConvNet(mel, [4], 8)}
    cells = {"words": [row["words"] for row in rows], "genre": ["waltz", "reel", "blues"]}
    for name, encoder in encoders.items():
        encoder.reader.fit(cells.get(name, [str(folder / "music" / "0.wav")]))
    space = Space(8, encoders)
    space.build()
    space.save(folder / "m.ckpt")
    labelled = JointEmbedding(8, encoders, [Match("audio", "genre", candidates="all")])
    labelled.build()
    labelled.save(folder / "l.ckpt")
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["index", "m.ckpt", "rows.jsonl", "s.index", "--column", "words"]) == 0
        assert main(["index", "m.ckpt", "music", "songs.index"]) == 0
        for card in ("c.json", "d.json"):
            assert main(["evaluate", *RIGHT["evaluate"].split(), "--card", card]) == 0
    finally:
        os.chdir(before)
    (folder / "r.yaml").write_text("""\
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: words, target: genre}}
data: {batch_size: 4, cache: null}
trainer: {max_epochs: 1, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu}
""")
    (folder / "tried").mkdir()
    (folder / "tried" / "config.yaml").write_text("{model: {dim: 4}, trainer: {}}")
    (folder / "tried" / "metrics.csv").write_text("dev/loss,epoch,step\n1.5,0,3\n")
    (folder / "hf").mkdir()
    (folder / "hf" / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.fixture
def place(home, tmp_path, monkeypatch):
    """A copy of all files, as the working directory."""
    folder = tmp_path / "copy"
    shutil.copytree(home, folder)
    monkeypatch.chdir(folder)
    return folder


def break_file(folder, word):
    """The path of a broken file in place of a right one, for a word such as `@cut:m.ckpt`."""
    if not word.startswith("@"):
        return word
    kind, name = word[1:].split(":")
    path = folder / f"broken{os.path.splitext(name)[1]}"
    if kind == "no/where":
        return f"no/where{path.suffix}"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # without a writer: to read it would wait for ever
    elif kind == "cut" and (folder / name).is_file():
        data = (folder / name).read_bytes()
        path.write_bytes(data[: len(data) // 2 + 7])
    else:
        path.write_bytes({"empty": b"", "text": b"neither {this\nnor, that\n" * 9}.get(kind, bytes(range(256)) * 9))
    return path.name


def run(words, capsys):
    capsys.readouterr()
    code = main(words)
    return code, *capsys.readouterr()


def is_quick(name):
    """One case in twelve runs by default, by a number that its name gives."""
    return sum(name.encode()) % 12 == 0 and not name.startswith(tuple(LIGHTNING))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if is_quick(name) else pytest.mark.slow) for name in CASES]
)
def test_a_wrong_command_ends_with_one_line_that_names_the_fault_and_the_fix(name, place, capsys):
    code, out, err = run([break_file(place, word) for word in CASES[name]], capsys)
    lines = [line for line in err.splitlines() if line.startswith("jointembed: ")]
    assert code in (2, 5), (code, out, err)
    assert len(lines) == 1 and ". Fix: " in lines[0], err
    assert lines[0].startswith("jointembed: error[E-USAGE]: " if code == 2 else "jointembed: error[E-DAMAGED]: ")
    assert not re.search(r"Traceback|E-INTERNAL|<class|Errno|Parser key|object at 0x", err), err
    assert not [path for path in place.iterdir() if re.fullmatch(r"out\..*", path.name)], "it has written something"


def test_the_right_commands_are_right(place, capsys):
    for name in set(RIGHT) - LIGHTNING - {"adopt", "completion", "docs", "serve", "sweep"}:  # docs needs its extra
        code, out, err = run([name, *RIGHT[name].split()], capsys)
        assert code == 0, (name, err)


def test_every_command_is_tried():
    assert set(RIGHT) | {"demo"} >= set(help.commands())
    assert len(CASES) >= 300 and sum(map(is_quick, CASES)) >= 50


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["s.index", "m.ckpt", "rows.jsonl"])
def test_a_file_that_may_not_be_read_is_named(name, place, capsys):
    (place / name).chmod(0)
    line = {"s.index": "similar s.index r0", "m.ckpt": RIGHT["embed"], "rows.jsonl": RIGHT["embed"]}[name]
    code, _, err = run([{"s.index": "similar"}.get(name, "embed"), *line.split()[name == "s.index" :]], capsys)
    assert code == 2 and name in err and "permission denied" in err
