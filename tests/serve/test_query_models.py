"""The server with a model: what is asked of it is what the commands would find."""

import contextlib
import json

import numpy as np
import pytest
import soundfile
import torch
from web_server import ask, get_json, serving, until

from jointembed import BagOfWords, ConvNet, EmbeddingBag, Index, JointEmbedding, LogMel
from jointembed.__main__ import main
from jointembed.indexing.embedders import Embedders

RATE = 8_000


def tone(seconds, seed):
    rng = np.random.default_rng(seed)
    at = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * (110 + 60 * seed) * at) + 0.1 * rng.standard_normal(len(at))


@contextlib.contextmanager
def embedders():
    """What loads the models of an index."""
    with contextlib.closing(Embedders()) as made:
        yield made.load


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model of sounds and words, six songs and their index."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    reader, words = LogMel(sample_rate=RATE, seconds=1.0, n_mels=16, n_fft=256, hop_length=80), BagOfWords()
    reader.fit([tone(2, 0)])
    words.fit(["slow waltz", "fast reel"])
    space = JointEmbedding(8, {"audio": ConvNet(reader, [8, 16], 16), "caption": EmbeddingBag(words)}, [])
    space.configure_model()
    space.save(folder / "model.ckpt")
    (folder / "music").mkdir()
    for number in range(6):
        end = ("wav", "flac", "ogg")[number % 3]
        soundfile.write(folder / "music" / f"{number}.{end}", tone(1.5 + number, number), RATE)
    assert main(["index", str(folder / "model.ckpt"), str(folder / "music"), str(folder / "songs.index")]) == 0
    return folder


@pytest.fixture(scope="module")
def port(made):
    with embedders() as load, serving(made / "songs.index", load=load) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready", 60)
        yield port


def test_a_song_that_is_sent_finds_itself_and_words_what_the_command_finds(made, port, capsys):
    assert get_json(port, "/api/info")["file"]
    for song in sorted((made / "music").iterdir()):
        first, second, *_ = get_json(port, "/api/query?k=5", method="POST", body=song.read_bytes())["hits"]
        assert first["id"] == song.name and first["score"] > 0.9999 > second["score"]
        assert ask(port, "/" + first["audio"])[2] == song.read_bytes()
    found = get_json(port, "/api/search?q=slow+waltz&k=6")
    capsys.readouterr()
    assert main(["search", str(made / "songs.index"), "slow waltz", "-k6", "--json"]) == 0
    wanted = json.loads(capsys.readouterr().out)
    assert found["method"] == "model"
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [(hit["id"], hit["score"]) for hit in wanted]


def test_what_the_model_does_not_know_is_looked_for_in_the_cells(port):
    found = get_json(port, "/api/search?q=3.wav")
    assert found["method"] == "text" and found["hits"][0]["id"] == "3.wav"
    assert "none of these words" in found["note"]


def test_what_is_no_sound_is_said_so_and_costs_nobody_else(made, port):
    for body in (
        b"no sound",
        b"RIFF" + bytes(1000),
        b"fLaC" + b"\xff" * 5000,
        b"<svg onload=alert(1)>",
        bytes(100_000),
    ):
        status, headers, answer = ask(port, "/api/query", "POST", body=body)
        assert status == 422 and headers["content-type"] == "application/json"
        line = json.loads(answer)["error"]
        assert line.startswith("the file: ") and "/" not in line and "\n" not in line
    assert ask(port, "/api/query?field=nothing", "POST", body=b"RIFF")[0] == 422
    assert get_json(port, "/api/query", method="POST", body=(made / "music" / "0.wav").read_bytes())["hits"]


def test_words_are_never_taken_for_a_path(made, port):
    """A path in the query must not make the server open a file."""
    found = get_json(port, f"/api/search?q={made / 'music' / '0.wav'}&k=1")
    assert found["method"] == "text"


def test_a_model_that_is_gone_or_another_is_said_in_one_line_without_its_place(made, capfd):
    checkpoint = made / "model.ckpt"
    kept = checkpoint.rename(made / "kept.ckpt")
    try:
        for change, said in ((lambda: None, "not there any more"), (lambda: other(checkpoint), "no longer the one")):
            change()
            with embedders() as load, serving(made / "songs.index", load=load) as port:
                until(lambda port=port: get_json(port, "/api/info")["text"] == "none", 60)
                found = get_json(port, "/api/search?q=wav")
                assert found["method"] == "text" and said in found["note"] and str(made) not in found["note"]
                assert len(get_json(port, "/api/similar?id=0.wav")["hits"]) == 5
    finally:
        kept.rename(checkpoint)
    assert "Traceback" not in capfd.readouterr().err


def other(path):
    space = JointEmbedding(8, {"caption": EmbeddingBag(BagOfWords())}, [])
    space.encoder("caption").reader.fit(["slow waltz"])
    space.configure_model()
    space.save(path)


def test_a_new_index_of_another_model_gets_that_model(made, tmp_path):
    second = tmp_path / "second.ckpt"
    torch.manual_seed(1)
    words = BagOfWords()
    words.fit(["polka"])
    space = JointEmbedding(8, {"caption": EmbeddingBag(words)}, [])
    space.configure_model()
    space.save(second)
    path = tmp_path / "a.index"
    with Index.open(made / "songs.index") as index:
        ids, vectors = index.vectors()
    with Index.create(path, 8, "cosine", str(made / "model.ckpt"), index_print(made / "songs.index")) as index:
        index.add([{"id": id} for id in ids], vectors, "audio")
    with embedders() as load, serving(path, load=load) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready", 60)
        assert get_json(port, "/api/search?q=slow")["method"] == "model"
        with Index.create(path, 8, "cosine", str(second), space.fingerprint) as index:
            index.add([{"id": id} for id in ids], vectors, "caption")
        until(lambda: get_json(port, "/api/search?q=polka")["method"] == "model", 20)
        assert not get_json(port, "/api/info")["file"]


def index_print(path):
    with Index.open(path) as index:
        return index.meta()["fingerprint"]
