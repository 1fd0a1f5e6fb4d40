"""The server with a real model gives the hits of the commands."""

import contextlib
import json

import numpy as np
import pytest
import soundfile
import torch
from web_server import ask, get_json, serving, until

from jointembed import BagOfWords, ConvNet, EmbeddingBag, Index, LogMel, Space
from jointembed.__main__ import main
from jointembed.indexing.query_encoder import QueryEncoders

RATE = 8_000


def tone(seconds, seed):
    rng = np.random.default_rng(seed)
    at = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * (110 + 60 * seed) * at) + 0.1 * rng.standard_normal(len(at))


@contextlib.contextmanager
def embedders():
    """A loader of the models of an index."""
    with contextlib.closing(QueryEncoders()) as catalogue:
        yield catalogue.load


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A folder with a model of sounds and words, six songs and their index."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    reader, words = LogMel(sample_rate=RATE, seconds=1.0, n_mels=16, n_fft=256, hop_length=80), BagOfWords()
    reader.fit([tone(2, 0)])
    words.fit(["slow waltz", "fast reel"])
    space = Space(8, {"audio": ConvNet(reader, [8, 16], 16), "caption": EmbeddingBag(words)})
    space.build()
    space.save(folder / "model.ckpt")
    (folder / "music").mkdir()
    for number in range(6):
        end = ("wav", "flac", "ogg")[number % 3]
        soundfile.write(folder / "music" / f"{number}.{end}", tone(1.5 + number, number), RATE)
    assert main(["index", str(folder / "model.ckpt"), str(folder / "music"), str(folder / "songs.index")]) == 0
    return folder


@pytest.fixture(scope="module")
def port(catalogue):
    with embedders() as load, serving(catalogue / "songs.index", load=load) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready", 60)
        yield port


def test_upload_finds_itself_and_text_finds_what_the_command_finds(catalogue, port, capsys):
    assert get_json(port, "/api/info")["file"]
    for song in sorted((catalogue / "music").iterdir()):
        first, second, *_ = get_json(port, "/api/query?k=5", method="POST", body=song.read_bytes())["hits"]
        assert first["id"] == song.name and first["score"] > 0.9999 > second["score"]
        assert ask(port, "/" + first["audio"])[2] == song.read_bytes()
    answer = get_json(port, "/api/search?q=slow+waltz&k=6")
    capsys.readouterr()
    assert main(["search", str(catalogue / "songs.index"), "slow waltz", "-k6", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert answer["method"] == "model"
    assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [(hit["id"], hit["score"]) for hit in expected]


def test_words_unknown_to_the_model_are_searched_in_the_columns(port):
    answer = get_json(port, "/api/search?q=3.wav")
    assert answer["method"] == "text" and answer["hits"][0]["id"] == "3.wav"
    assert "none of these words" in answer["note"]


def test_upload_that_is_not_a_sound_is_refused(catalogue, port):
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
    assert get_json(port, "/api/query", method="POST", body=(catalogue / "music" / "0.wav").read_bytes())["hits"]


def test_text_is_never_read_as_a_path(catalogue, port):
    """A path in the query must not make the server open a file."""
    answer = get_json(port, f"/api/search?q={catalogue / 'music' / '0.wav'}&k=1")
    assert answer["method"] == "text"


def test_missing_or_changed_model_is_reported_without_its_path(catalogue, capfd):
    checkpoint = catalogue / "model.ckpt"
    moved = checkpoint.rename(catalogue / "kept.ckpt")
    try:
        for change, message in (
            (lambda: None, "the model of this field is missing"),
            (lambda: save_model(checkpoint), "another model made the vectors"),
        ):
            change()
            with embedders() as load, serving(catalogue / "songs.index", load=load) as port:
                until(lambda port=port: get_json(port, "/api/info")["text"] == "none", 60)
                answer = get_json(port, "/api/search?q=wav")
                assert answer["method"] == "text" and message in answer["note"] and str(catalogue) not in answer["note"]
                assert len(get_json(port, "/api/similar?id=0.wav")["hits"]) == 5
    finally:
        moved.rename(checkpoint)
    assert "Traceback" not in capfd.readouterr().err


def save_model(path):
    space = Space(8, {"caption": EmbeddingBag(BagOfWords())})
    space.encoder("caption").reader.fit(["slow waltz"])
    space.build()
    space.save(path)


def test_replaced_index_gets_its_own_model(catalogue, tmp_path):
    second = tmp_path / "second.ckpt"
    torch.manual_seed(1)
    words = BagOfWords()
    words.fit(["polka"])
    space = Space(8, {"caption": EmbeddingBag(words)})
    space.build()
    space.save(second)
    path = tmp_path / "a.index"
    with Index.open(catalogue / "songs.index") as index:
        ids, vectors = index.vectors()
    with Index.create(
        path, 8, "cosine", str(catalogue / "model.ckpt"), index_print(catalogue / "songs.index")
    ) as index:
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
        return index.field_info().fingerprint
