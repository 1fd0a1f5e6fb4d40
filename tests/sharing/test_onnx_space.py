"""Indexes by a model in ONNX: the vectors of torch, without torch; damaged folders are refused."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from jointembed import (
    GRU,
    BagOfWords,
    Category,
    CausalTransformer,
    ConvNet,
    EmbeddingBag,
    Index,
    LogMel,
    PianoRoll,
    Space,
)
from jointembed.__main__ import main
from jointembed.encoders import AttentionPooling
from jointembed.errors import DamagedError, MismatchError, UnsafeError, UsageError, UserError
from jointembed.readers import TokenReader
from jointembed.readers.log_mel import WINDOWS_IN_BLOCK

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from jointembed.sharing import onnx_graphs  # noqa: E402
from jointembed.sharing.onnx_space import OnnxSpace, open_session  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
RATE, TOLERANCE = 8000, 1e-5
SUPPORT = Path(__file__).parents[1] / "support"
rng = np.random.default_rng(5)


def noise(seconds):
    return rng.normal(0, 0.1, int(RATE * seconds)).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory, one_thread):
    """A model of sounds and words, exported, and a folder of songs."""
    folder = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    encoders = {"audio": ConvNet(LogMel(RATE, 0.25, 16, 256, 80), [4], 8), "words": EmbeddingBag(BagOfWords())}
    space = Space(4, encoders)
    space.reader("words").fit(["slow waltz", "fast reel"])
    space.build()
    space.save(folder / "m.ckpt")
    assert main(["export", str(folder / "m.ckpt"), str(folder / "shared"), "--onnx", "--int8"]) == 0
    (folder / "music").mkdir()
    for number, seconds in enumerate([0.1, 0.9, 6.3]):
        soundfile.write(folder / "music" / f"{number}.wav", noise(seconds), RATE)
    return folder


@pytest.fixture(scope="module")
def space(home):
    return Space.load(home / "m.ckpt")


@pytest.fixture(scope="module")
def onnx(home):
    return OnnxSpace.load(home / "shared" / "onnx")


def test_sounds_and_texts_of_any_shape(home, space):
    """What the slow tests of `test_onnx` promise, on two small columns."""
    audio, words = (open_session(home / "shared" / "onnx" / f"{name}.onnx") for name in ("audio", "words"))
    for shape in [(1, 40), (3, 900), (1, 2000), (2, 2900), (4, 9999)]:
        sounds = rng.normal(0, 0.1, shape).astype(np.float32)
        z = audio.run(["vector"], {"samples": sounds})[0]
        assert np.abs(z - space.embed("audio", list(sounds))).max() <= TOLERANCE, shape
    texts = ["reel", "slow slow waltz unheard"]
    z = words.run(["vector"], space.reader("words").tensors(texts))[0]
    assert np.abs(z - space.embed("words", texts)).max() <= TOLERANCE


@pytest.mark.parametrize("max_windows", [None, 1, 3, WINDOWS_IN_BLOCK + 1])
def test_long_sounds_window_by_window(space, onnx, max_windows):
    sounds = [noise(seconds) for seconds in (0.01, 0.2, 0.37, 0.38, 1.0, 2.1, 6.3, 9.0)]
    z = onnx.embed("audio", sounds, max_windows)
    assert np.abs(z - space.embed("audio", sounds, max_windows=max_windows)).max() <= TOLERANCE
    assert np.array_equal(z[5], onnx.embed("audio", sounds[5:6], max_windows)[0]), "alone or among others"


def test_cells_of_several_texts(space, onnx):
    cells = ["reel", ["slow waltz", "fast"], ["unheard", "a fast reel and a slow waltz", "waltz"]]
    assert np.abs(onnx.embed("words", cells) - space.embed("words", cells)).max() <= TOLERANCE


def test_cells_are_computed_in_batches_and_have_the_same_bits_alone(space, onnx, monkeypatch):
    words = ["slow", "waltz", "fast", "reel"]
    cells = [[" ".join(rng.choice(words, length)) for length in rng.integers(1, 5, n % 3 + 1)] for n in range(90)]
    column, runs = onnx._columns["words"], []

    class Session:
        def run(self, *arguments):
            runs.append(arguments)
            return session.run(*arguments)

    session = column.encoder
    monkeypatch.setattr(column, "encoder", Session())
    together = onnx.embed("words", cells)
    assert len(runs) < 30 and np.abs(together - space.embed("words", cells)).max() <= TOLERANCE
    for number, cell in enumerate(cells):
        assert np.array_equal(onnx.embed("words", [cell])[0], together[number]), cell


def test_the_first_wrong_cell_is_named(onnx):
    with pytest.raises(UsageError, match="words, cell 301: it is missing"):
        onnx.embed("words", [*["reel"] * 301, None, "waltz", None])


def test_an_index_is_made_and_searched_without_torch(home, space, tmp_path):
    table = tmp_path / "rows.jsonl"
    table.write_text('{"id": "a", "words": "slow waltz"}\n{"id": "b", "words": ["fast", "reel"]}\n')
    songs, texts = tmp_path / "songs.index", tmp_path / "texts.index"
    script = f"""
        import sys
        sys.modules.update(dict.fromkeys(["torch", "lightning", "torchaudio"]))
        sys.path.insert(0, {str(SUPPORT)!r})
        from jointembed.__main__ import main
        from jointembed.indexing.query_encoder import QueryEncoders
        from web_server import get_json, serving, until

        onnx, songs = {str(home / "shared" / "onnx")!r}, {str(songs)!r}
        assert main(["index", onnx, {str(home / "music")!r}, songs, "--max-windows", "9"]) == 0
        assert main(["index", onnx, {str(table)!r}, {str(texts)!r}]) == 0
        assert main(["search", songs, "slow waltz"]) == 0
        assert main(["similar", songs, {str(home / "other.wav")!r}]) == 0
        encoders = QueryEncoders()
        with serving(songs, load=encoders.load) as port:
            until(lambda: get_json(port, "/api/info")["text"] == "ready", 60)
            assert get_json(port, "/api/search?q=fast+reel")["method"] == "model"
            with open({str(home / "music" / "1.wav")!r}, "rb") as file:
                hits = get_json(port, "/api/query", method="POST", body=file.read())["hits"]
            assert hits[0]["id"] == "1.wav"
        encoders.close()
        assert sys.modules["torch"] is None and sys.modules["lightning"] is None
    """
    soundfile.write(home / "other.wav", noise(2), RATE)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Index.open(songs) as index:
        ids, vectors = index.vectors()
        assert index.field_info().fingerprint == space.fingerprint
        exact = space.embed("audio", [str(home / "music" / id) for id in ids], max_windows=9)
        assert np.einsum("nd,nd->n", vectors, exact).min() >= 0.999, "8-bit integers, where they are accurate enough"
    with Index.open(texts) as index:
        exact = space.embed("words", ["slow waltz", ["fast", "reel"]])
        assert np.abs(index.vectors()[1] - exact).max() <= TOLERANCE
    # The checkpoint goes on with the index, whose settings it takes over.
    assert main(["index", str(home / "m.ckpt"), str(home / "music"), str(songs)]) == 0


def damaged(home, tmp_path, change):
    folder = tmp_path / "onnx"
    shutil.copytree(home / "shared" / "onnx", folder)
    change(folder)
    return folder


def edit(name, value):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        config[name] = value(config[name]) if callable(value) else value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def flip(file):
    def change(folder):
        data = bytearray((folder / file).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / file).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (flip("audio.onnx"), DamagedError, "checksum"),
        (flip("golden.safetensors"), DamagedError, "checksum"),
        (lambda folder: (folder / "words.head.onnx").unlink(), UsageError, "incomplete"),
        (edit("onnx", 99), MismatchError, "newer version"),
        (edit("files", lambda files: {**files, "../x": "0"}), UnsafeError, "outside"),
        (edit("readers", lambda readers: {"words": readers["words"]}), DamagedError, "KeyError"),
        (edit("readers", lambda readers: {**readers, "audio": {"class_path": "os.x"}}), UnsafeError, "os.x"),
    ],
)
def test_a_damaged_folder_is_refused(home, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        OnnxSpace.load(damaged(home, tmp_path, change))


def test_graphs_that_give_other_vectors_are_refused(home, tmp_path, monkeypatch):
    monkeypatch.setattr(TokenReader, "tensors", lambda self, cell, in_pieces=False: {
        "input_ids": np.zeros((1, 1), np.int64), "attention_mask": np.ones((1, 1), np.int64)
    })  # fmt: skip
    with pytest.raises(DamagedError, match="vectors of words are not those of its export"):
        OnnxSpace.load(home / "shared" / "onnx")


def test_wrong_uses_end_in_one_line(home, tmp_path, capsys, onnx):
    folder = str(home / "shared" / "onnx")
    assert main(["index", folder, str(home / "music"), str(tmp_path / "i"), "--device", "cuda"]) == 2
    assert main(["export", folder, str(tmp_path / "out")]) != 0
    error = capsys.readouterr().err
    assert "graphs run on the CPU" in error and "it holds ONNX graphs" in error
    for column, cells in (("genre", ["a"]), ("words", [None]), ("audio", ["no such file.wav"])):
        with pytest.raises(UserError):
            onnx.embed(column, cells)


@pytest.mark.slow
def test_lists_in_order_rolls_and_fusions(tmp_path):
    torch.manual_seed(0)
    encoders = {"roll": EmbeddingBag(PianoRoll()), "words": EmbeddingBag(BagOfWords())}
    fusions, pools = {"both": ["roll", "words"]}, {"words": CausalTransformer(length=8, layers=1)}
    space = Space(4, encoders, pools=pools, fusions=fusions, fusion_hidden=[8])
    space.reader("words").fit(["slow waltz", "fast reel"])
    space.build()
    with torch.no_grad():
        for parameter in space.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    results = onnx_graphs.write_graphs(space.eval(), {}, tmp_path / "onnx")
    assert [result.refusal for result in results] == ["", "", ""]
    onnx = OnnxSpace.load(tmp_path / "onnx")
    cells = {
        "roll": [[[60]], [[60, 64, 67], [], [69]], [[50, 51], [52]] * 20],
        "words": ["reel", ["slow waltz", "fast"], ["waltz", "fast reel unheard", "slow"] * 7],
        "both": [{"roll": [[60], []]}, {"words": ["fast", "reel"]}, {"roll": [[30]] * 9, "words": "waltz"}],
    }
    for column, own in cells.items():
        assert np.abs(onnx.embed(column, own) - space.embed(column, own)).max() <= TOLERANCE, column
    with pytest.raises(UsageError, match="none of its parts"):
        onnx.embed("both", [{"id": "7"}])


@pytest.mark.slow
@pytest.mark.parametrize(
    "pool",
    [
        lambda: GRU(length=6, layers=2),
        lambda: GRU(length=6, mean=True),
        lambda: AttentionPooling(length=6),
        lambda: CausalTransformer(length=6, layers=1),
    ],
)
def test_lists_of_any_length_by_each_pooling(tmp_path, pool):
    torch.manual_seed(0)
    genre = Category()
    genre.fit([str(n) for n in range(9)])
    space = Space(8, {"genre": EmbeddingBag(genre)}, pools={"genre": pool()})
    space.build()
    with torch.no_grad():
        for parameter in space.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    [result] = onnx_graphs.write_graphs(space.eval(), {}, tmp_path / "onnx")
    assert result.refusal == ""
    onnx = OnnxSpace.load(tmp_path / "onnx")
    for length in (1, 2, 5, 6, 7, 40):
        cells = [[str(n) for n in rng.integers(0, 9, length)] for _ in range(3)]
        exact = space.embed("genre", cells)
        assert np.abs(onnx.embed("genre", cells) - exact).max() <= TOLERANCE, length
        rows = [onnx.reader("genre").tensors(cell, in_pieces=True) for cell in cells]
        tensors = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        graph = open_session(tmp_path / "onnx" / "genre.onnx")
        assert np.abs(graph.run(["vector"], tensors)[0] - exact).max() <= TOLERANCE, length
