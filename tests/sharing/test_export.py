"""An exported model gives the bits of its checkpoint, in every command; damage and malice are refused in one line."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from shared_models import make_model, write_table
from tiny_models import fresh

from jointembed import JointEmbedding, Space, from_checkpoint
from jointembed.__main__ import main
from jointembed.errors import DamagedError, MismatchError, UnsafeError, UsageError
from jointembed.files import sha256
from jointembed.sharing.model_card import About

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def home(tmp_path_factory, one_thread):
    """A table, a model and its export."""
    folder = tmp_path_factory.mktemp("home")
    write_table(folder)
    make_model(folder).save(folder / "m.ckpt")
    assert main(["export", str(folder / "m.ckpt"), str(folder / "shared")]) == 0
    return folder


@pytest.fixture
def copy(home, tmp_path):
    """A copy of the exported model."""
    return shutil.copytree(home / "shared", tmp_path / "copy")


def change(folder, name, edit):
    """Edit the JSON of a file, and its checksum, as whoever means harm would."""
    value = json.loads((folder / name).read_text())
    edit(value)
    (folder / name).write_text(json.dumps(value))
    sign(folder, name)


def sign(folder, name):
    if name != "config.json":
        config = json.loads((folder / "config.json").read_text())
        config["files"][name] = sha256(folder / name)
        (folder / "config.json").write_text(json.dumps(config))


def test_the_folder_holds_plain_data_only(home):
    names = {str(path.relative_to(home / "shared")) for path in (home / "shared").rglob("*") if path.is_file()}
    assert names - {"README.md"} == {
        "config.json", "readers.json", "model.safetensors", "golden.json", "golden.safetensors",
        "tokenizers/caption.json",
    }  # fmt: skip


def test_a_fresh_process_without_network_gives_the_same_bits(home, tmp_path):
    space = Space.load(home / "m.ckpt")
    rng = np.random.default_rng(1)
    cells = {
        "audio": [rng.normal(0, 0.1, n).astype(np.float32) for n in (900, 8000, 31000)],
        "picture": [rng.integers(0, 256, (31, 17, 3), np.uint8)],
        "bitmap": [rng.random((12, 10)).astype(np.float32)],
        "caption": ["a slow reel", "at night"],
        "words": ["a slow reel", "unheard"],
        "genre": ["jazz", ["waltz", "reel"], "?"],
        "history": [["jazz", "waltz", "reel"]],
        "a/b..": ["x"],
        "place": [{"genre": "jazz", "tempo": 63}],
        "song": [{"words": "jazz", "tempo": 70}],
    }
    np.savez(
        tmp_path / "expected.npz", **{str(n): space.embed(column, cells[column]) for n, column in enumerate(cells)}
    )
    arrays = {
        f"{column} {n}": cell for column in ("audio", "picture", "bitmap") for n, cell in enumerate(cells[column])
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    plain = {column: cells[column] for column in cells if column not in ("audio", "picture", "bitmap")}
    done = fresh(f"""
        import numpy as np
        from jointembed import JointEmbedding, Space
        arrays = np.load({str(tmp_path / "arrays.npz")!r})
        expected = np.load({str(tmp_path / "expected.npz")!r})
        cells = {{}}
        for name in arrays:
            cells.setdefault(name.split()[0], []).append(arrays[name])
        cells |= {plain!r}
        for space in (Space.load({str(home / "shared")!r}), JointEmbedding.load({str(home / "shared")!r}).space):
            for number, column in enumerate({list(cells)!r}):
                assert np.array_equal(space.embed(column, cells[column]), expected[str(number)]), column
            print(space.fingerprint)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [space.fingerprint] * 2


def test_what_the_model_predicts_survives(home):
    before, after = (JointEmbedding.load(home / name) for name in ("m.ckpt", "shared"))
    texts = ["a slow reel", "jazz at night"]
    for target in ("price", "mood"):
        assert np.array_equal(before.predict("words", texts, target), after.predict("words", texts, target))
    assert np.array_equal(before.predict_proba("words", texts, "mood"), after.predict_proba("words", texts, "mood"))
    sound = [np.random.default_rng(2).normal(0, 0.1, 9000).astype(np.float32)]
    assert np.array_equal(before.predict_proba("audio", sound, "genre"), after.predict_proba("audio", sound, "genre"))


def test_every_column_has_golden_vectors(home):
    assert set(json.loads((home / "shared" / "golden.json").read_text())) == {
        *Space.load(home / "m.ckpt").columns, "song",
    }  # fmt: skip


def test_every_command_takes_the_folder_for_the_checkpoint(home, tmp_path, capsys):
    table, printed = str(home / "rows.jsonl"), {}
    for name in ("m.ckpt", "shared"):
        model, out = str(home / name), tmp_path / name
        out.mkdir()
        assert main(["embed", model, table, str(out / "z.parquet"), "--column", "words"]) == 0
        assert main(["index", model, table, str(out / "t.index"), "--column", "audio"]) == 0
        assert main(["index", model, str(home / "audio"), str(out / "s.index"), "--column", "audio"]) == 0
        capsys.readouterr()
        for words in (
            ["evaluate", model, table, "--query", "words", "--target", "genre", "--split", "all", "--json"],
            ["evaluate", model, table, "--query", "words", "--target", "price", "--split", "all", "--json"],
            ["search", str(out / "t.index"), "jazz", "--column", "genre", "--json"],
            ["similar", str(out / "s.index"), str(home / "audio" / "3.wav"), "--json"],
            ["dims", table, "--model", model, "--query", "words", "--target", "genre", "--split", "all", "--json"],
        ):
            assert main(words) == 0, (words, capsys.readouterr().err)
            printed.setdefault(name, []).append(capsys.readouterr().out.replace(str(out), ""))
    assert printed["m.ckpt"] == printed["shared"]
    assert (tmp_path / "m.ckpt" / "z.parquet").read_bytes() == (tmp_path / "shared" / "z.parquet").read_bytes()


def test_an_index_may_go_on_with_the_export_of_its_model(home, tmp_path, capsys):
    place = str(tmp_path / "t.index")
    for name in ("m.ckpt", "shared"):
        assert main(["index", str(home / name), str(home / "rows.jsonl"), place, "--column", "words"]) == 0
    assert "16 of them unchanged" in capsys.readouterr().out


def test_training_begins_with_an_export(home):
    tower = from_checkpoint(str(home / "shared"), "audio")
    own = Space.load(home / "m.ckpt").encoder("audio")
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in tower.encoder.state_dict().items())


RECIPE = """
model:
  dim: 4
  encoders:
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives: [{class_path: Match, init_args: {query: words, target: genre, candidates: all}}]
data: {table: rows.jsonl, group: tempo}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""


def test_a_run_is_exported_with_its_split_and_predicts(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]
    text = "\n".join(json.dumps({key: cell for key, cell in row.items() if key != "split"}) for row in rows)
    (tmp_path / "rows.jsonl").write_text(text)
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert main("fit -c r.yaml --trainer.default_root_dir run".split()) == 0
    assert main(["export", "run", "shared"]) == 0
    outs = []
    for model in ("run", "shared"):
        capsys.readouterr()
        assert main(["evaluate", model, "rows.jsonl", "--query", "words", "--target", "genre", "--split", "train"]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]
    written = []
    for model in ("run/best.ckpt", "shared"):
        words = f"predict -c r.yaml --proba --ckpt_path {model} --trainer.default_root_dir out"
        assert main(words.split()) == 0
        written.append((tmp_path / "out" / "probabilities.parquet").read_bytes())
    assert written[0] == written[1]
    assert main("fit -c r.yaml --ckpt_path shared --trainer.default_root_dir run".split()) == 2
    assert "without the state of its training" in capsys.readouterr().err


def test_an_export_is_exported_again(copy, tmp_path):
    assert main(["export", str(copy), str(tmp_path / "again")]) == 0
    for path in copy.rglob("*"):
        if path.is_file() and path.name != "README.md":
            assert (tmp_path / "again" / path.relative_to(copy)).read_bytes() == path.read_bytes(), path


def test_an_existing_folder_is_left_alone(home, copy, capsys):
    before = sorted(copy.iterdir())
    assert main(["export", str(home / "m.ckpt"), str(copy)]) == 2
    assert "it exists already" in capsys.readouterr().err and sorted(copy.iterdir()) == before


FILES = ["config.json", "readers.json", "model.safetensors", "golden.json", "golden.safetensors",
         "tokenizers/caption.json"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "empty"])
def test_an_incomplete_copy_is_refused_in_one_line(copy, name, harm, home, capsys):
    path = copy / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": bytes(data[: len(data) // 2]), "flipped": bytes(data), "empty": b""}[harm])
    code = main(["embed", str(copy), str(home / "rows.jsonl"), "out.parquet", "--column", "words"])
    err = capsys.readouterr().err
    assert code in (2, 5) and err.count("\n") == 1 and "E-INTERNAL" not in err, err
    assert ". Fix: " in err


def test_weights_that_give_other_vectors_are_refused(copy):
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "caption" in name and "norm" in name)
    save_file({**weights, name: weights[name] * 1.5}, copy / "model.safetensors")
    sign(copy, "model.safetensors")
    with pytest.raises(DamagedError, match="its vectors of caption are not those of its export"):
        Space.load(copy)


@pytest.mark.parametrize(
    "name", ["../../secret.json", "/etc/passwd", "tokenizers/../../secret", "..\\secret", "C:secret"]
)
def test_no_file_outside_of_the_folder_is_read(copy, name):
    (copy.parent / "secret.json").write_text("{}")
    change(copy, "readers.json", lambda value: value["readers"]["caption"]["tokenizer"].update(file=name))
    with pytest.raises(UnsafeError, match="which is not a file of it"):
        Space.load(copy)
    change(copy, "config.json", lambda value: value["files"].update({name: "0"}))
    with pytest.raises(UnsafeError, match="outside of the folder"):
        Space.load(copy)


@pytest.mark.parametrize(
    "cell", ["/etc/passwd", {"bytes": None, "path": "/etc/passwd"}, ["a.wav"], {"array": [0.1], "sampling_rate": 8}]
)
def test_no_golden_cell_opens_a_file(copy, cell):
    change(copy, "golden.json", lambda value: value["audio"]["cells"].__setitem__(0, cell))
    with pytest.raises(UnsafeError, match="a golden cell of audio is not an array"):
        Space.load(copy)
    change(copy, "golden.json", lambda value: value.pop("audio"))
    change(copy, "golden.json", lambda value: value["song"]["cells"][0].update(audio=cell))
    with pytest.raises(UnsafeError, match="a golden cell of audio is not an array"):
        Space.load(copy)


def test_no_class_is_imported_that_does_not_belong_to_jointembed(copy):
    def edit(value):
        encoders = value["jointembed"]["space"]["init_args"]["encoders"]
        encoders["words"]["class_path"] = "os.system"

    change(copy, "config.json", edit)
    for load in (Space.load, JointEmbedding.load):
        with pytest.raises(UnsafeError, match="os.system, which is not part of jointembed"):
            load(copy)


@pytest.mark.parametrize("path", ["jointembed.files.atomic_write", "jointembed.space.golden.Golden"])
def test_no_function_of_jointembed_is_called(copy, path):
    change(copy, "config.json", lambda value: value["jointembed"]["space"].update(class_path=path))
    with pytest.raises(UnsafeError, match="is not a reader, encoder, objective or space"):
        Space.load(copy)


def test_weights_of_another_shape_are_refused(copy):
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "genre" in name)
    save_file({**weights, name: weights[name][:-1].copy()}, copy / "model.safetensors")
    sign(copy, "model.safetensors")
    for load in (Space.load, JointEmbedding.load):
        with pytest.raises(DamagedError, match="do not fit the model"):
            load(copy)


HARMS = {
    "no space": ("config.json", lambda value: value["jointembed"].pop("space")),
    "no files": ("config.json", lambda value: value.pop("files")),
    "files is a list": ("config.json", lambda value: value.update(files=["a"])),
    "a text": ("config.json", lambda value: value.update(jointembed="x")),
    "a dimension": ("config.json", lambda value: value["jointembed"]["space"]["init_args"].update(dim="x")),
    "no encoders": ("config.json", lambda value: value["jointembed"]["space"]["init_args"].pop("encoders")),
    "no readers": ("readers.json", lambda value: value.pop("readers")),
    "readers of no encoder": ("readers.json", lambda value: value["readers"].update(x={})),
    "no ids": ("readers.json", lambda value: value["readers"]["genre"].pop("ids")),
    "a mean": ("readers.json", lambda value: value["readers"]["audio"].update(mean=["x"])),
    "a tokenizer": ("readers.json", lambda value: value["readers"]["caption"].update(tokenizer="{}")),
    "an array": ("golden.json", lambda value: value["audio"].update(vectors={"$array": "99"})),
    "a shape": ("golden.json", lambda value: value["audio"].update(vectors=[[1.0]])),
    "a column": ("golden.json", lambda value: value.update(x={"cells": [], "vectors": []})),
    "a cell": ("golden.json", lambda value: value["words"].update(cells=[1, 2, 3, 4])),
    "a list": ("golden.json", lambda value: value.update(audio=[])),
}


@pytest.mark.parametrize("harm", HARMS)
def test_json_of_another_form_is_refused(copy, harm):
    change(copy, *HARMS[harm])
    for load in (Space.load, JointEmbedding.load):
        with pytest.raises((DamagedError, UsageError, MismatchError)) as error:
            load(copy)
        assert str(copy) in str(error.value) or harm in ("a dimension", "readers of no encoder")


def test_a_newer_format_and_another_kind_of_folder_are_named(copy):
    change(copy, "config.json", lambda value: value.update(format=99))
    with pytest.raises(MismatchError, match="pip install -U jointembed"):
        Space.load(copy)
    (copy / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MismatchError, match="jointembed adopt"):
        Space.load(copy)


@pytest.mark.parametrize("name", ["no/such", "Apache 2.0", "LICENSE.txt", "-"])
def test_licence_of_a_card_is_a_name_of_the_hub(name):
    with pytest.raises(UsageError, match="not the name of a licence"):
        About(license=name)


def test_adopt_gives_the_checkpoint_back(home, tmp_path):
    assert main(["adopt", str(home / "shared"), str(tmp_path / "back.ckpt")]) == 0
    before, after = (JointEmbedding.load(path) for path in (home / "m.ckpt", tmp_path / "back.ckpt"))
    assert after.space.fingerprint == before.space.fingerprint
    weights = after.state_dict()
    assert weights.keys() == before.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in before.state_dict().items())
    assert (
        [type(objective) for objective in after.objectives]
        == [type(objective) for objective in before.objectives]
        != []
    )


def test_adopt_refuses_a_damaged_export_and_its_graphs(copy, tmp_path, capsys):
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    assert main(["adopt", str(copy), str(tmp_path / "back.ckpt")]) != 0
    assert "its checksum does not match" in capsys.readouterr().err
    (copy / "config.json").write_text('{"library_name": "jointembed", "onnx": 1}')
    assert main(["adopt", str(copy), str(tmp_path / "back.ckpt")]) != 0
    assert "it holds ONNX graphs" in capsys.readouterr().err and not (tmp_path / "back.ckpt").exists()
