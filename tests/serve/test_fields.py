"""The server over an index with several fields, each with its own model."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from web_server import Embedder, ask, filled, get_json, serving, unit, until

from jointembed import BagOfWords, ConvNet, EmbeddingBag, Index, LogMel, Space
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.indexing.query_encoder import QueryEncoder, QueryEncoders
from jointembed.space.inference import EmbedOptions, threads
from jointembed.web import export

RATE = 8_000


@pytest.fixture
def path(tmp_path):
    """40 songs with vectors of their audio; every third also has a vector of its tags, from another model."""
    path = filled(tmp_path / "songs.index")
    with Index.open(path) as index:
        index.add_field("tags", 5, "euclidean", "other", "f2", "by tags")
        index.add([index.row(f"s{at}") for at in range(0, 40, 3)], unit(14, 5, 1), "tags")
    return path


class Deaf(Embedder):
    sounds = False


class Silent(Embedder):
    words = False


def load(path, column):
    return Deaf(5) if column == "tags" else Silent()


@pytest.fixture
def port(path):
    with serving(path, load=load) as port:
        until(lambda: get_json(port, "/api/info?field=tags")["text"] == "ready")
        yield port


def test_info_names_the_queries_of_each_field(port):
    info = get_json(port, "/api/info")
    assert (info["field"], info["count"], info["rows"], info["dim"], info["metric"]) == (
        "audio", 40, 40, 8, "cosine",
    )  # fmt: skip
    assert (info["text"], info["file"], info["why"]) == (
        "none",
        True,
        "the model of the field audio embeds no text",
    )
    assert info["queries"] == {
        "audio": {"text": "none", "file": True, "why": "the model of the field audio embeds no text"},
        "tags": {"text": "ready", "file": False},
    }
    info = get_json(port, "/api/info?field=tags")
    assert (info["field"], info["count"], info["rows"], info["dim"], info["metric"], info["note"]) == (
        "tags", 14, 40, 5, "euclidean", "by tags",
    )  # fmt: skip
    assert (info["text"], info["file"], "why" in info) == ("ready", False, False)


def test_text_is_embedded_by_the_model_of_the_field(path, port):
    answer = get_json(port, "/api/search?q=polka&k=5&field=tags")
    with Index.open(path) as index:
        expected = index.search(Deaf(5).text("polka"), 5, "tags")
        assert answer["method"] == "model"
        assert [(hit["id"], hit["score"]) for hit in answer["hits"]] == [(hit.id, hit.score) for hit in expected]


def test_text_that_no_model_embeds_is_searched_in_the_columns(port):
    answer = get_json(port, "/api/search?q=polka&k=50&field=audio")
    assert answer["method"] == "text" and len(answer["hits"]) == 20
    note = "the model of the field audio embeds no text; these items contain the words"
    assert answer["note"] == note
    answer = get_json(port, "/api/search?q=polka&k=50&field=audio&one_per=artist&diversity=0.5")
    assert answer["note"] == f"{note}; one_per is of searches by vectors; diversity is of searches by vectors"
    answer = get_json(port, "/api/search?q=unknown&field=tags")
    assert answer["method"] == "text" and "none of these words" in answer["note"]


def test_text_search_is_restricted_to_the_rows_of_the_field(path):
    with serving(path) as port:
        assert len(get_json(port, "/api/search?q=song&k=50")["hits"]) == 40
        hits = get_json(port, "/api/search?q=song&k=50&field=tags")["hits"]
        assert {hit["id"] for hit in hits} == {f"s{at}" for at in range(0, 40, 3)}


def test_upload_is_refused_for_a_field_whose_model_embeds_no_sounds(path, port):
    answer = get_json(port, "/api/query?k=3&field=audio", method="POST", body=b"RIFF")
    assert answer == get_json(port, "/api/query?k=3", method="POST", body=b"RIFF")
    for column, message in (("tags", "the model of this field embeds no sounds"), ("nothing", "field: ")):
        status, _, body = ask(port, f"/api/query?field={column}", "POST", body=b"RIFF")
        assert status == 422 and json.loads(body)["error"].startswith(message)


def test_layouts_columns_rows_and_paths_are_of_the_field(path, port):
    with Index.open(path) as index:
        index.set_vocabulary(["far", "near"], unit(2, 5, 4), "tags")
        assert ask(port, "/api/layout?axes=pca2&field=tags")[2] == export.layout_bytes(index, "pca2", "tags")
        assert get_json(port, "/api/column?name=id&field=tags")["values"] == index.ids("tags")
        assert set(get_json(port, "/api/row?id=s3&field=tags")["terms"]) == {"far", "near"}
        assert get_json(port, "/api/row?id=s1&field=tags")["terms"] == get_json(port, "/api/row?id=s3")["terms"] == []
        path_hits = get_json(port, "/api/path?start=s3&end=s30&n=4&field=tags")["hits"]
        assert [hit["id"] for hit in path_hits] == [hit.id for hit in index.path_between("s3", "s30", 4, "tags")]
    for target in ("info?", "layout?", "column?name=id&", "row?id=s1&", "search?q=song&", "similar?id=s1&"):
        status, _, body = ask(port, f"/api/{target}field=nothing")
        assert status == 422 and "field" in json.loads(body)["error"], target


def test_text_does_not_wait_for_sounds(path):
    go, statuses = threading.Event(), []

    class Slow(Embedder):
        def sound(self, path):
            go.wait(10)
            return super().sound(path)

    with serving(path, load=lambda *_: Slow()) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        sending = [
            threading.Thread(target=lambda: statuses.append(ask(port, "/api/query", "POST", body=b"RIFF")[0]))
            for _ in range(4)
        ]
        for first in sending:
            first.start()
        assert get_json(port, "/api/search?q=polka")["method"] == "model" and not statuses
        go.set()
        for first in sending:
            first.join()
    assert statuses == [200] * 4


def test_new_field_gets_its_model_while_the_server_runs(path):
    loaded = []

    def slow(path, column):
        loaded.append(column)
        return load(path, column)

    with serving(path, load=slow) as port:
        until(lambda: get_json(port, "/api/info?field=tags")["text"] == "ready")
        with Index.open(path) as index:
            index.add_field("moods", 3, "cosine", "third", "f3")
            index.add([{"id": "s1"}, {"id": "s2"}], unit(2, 3), "moods")
        until(lambda: "moods" in get_json(port, "/api/info")["queries"])
        until(lambda: loaded == ["audio", "tags", "moods"])


def test_model_that_fails_to_load_leaves_the_others_usable(path):
    def load_tags(path, column):
        if column == "audio":
            raise UsageError("model", "it is gone", "put it back")
        return load(path, column)

    with serving(path, load=load_tags) as port:
        until(lambda: get_json(port, "/api/info?field=tags")["text"] == "ready")
        assert "gone" in get_json(port, "/api/info")["why"]
        assert get_json(port, "/api/search?q=polka&field=tags")["method"] == "model"
        status, _, body = ask(port, "/api/query?field=audio", "POST", body=b"RIFF")
        assert status == 422 and "gone" in json.loads(body)["error"]


def test_vector_of_another_model_is_never_searched(path):
    with serving(path, load=lambda *_: Deaf()) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        assert get_json(port, "/api/search?q=polka")["method"] == "model"
        with Index.create(path, 8, "cosine", "model", "f9") as index:
            index.add([{"id": "new", "title": "polka"}], unit(1), "audio")
            answer = [ask(port, "/api/search?q=polka") for _ in range(3)]
        for status, headers, body in answer:  # refused, or, once the new model is looked for, by the words in the cells
            assert (status, headers.get("retry-after")) == (503, "1") or json.loads(body)["method"] in ("text", "model")
        assert answer[0][0] == 503 or json.loads(answer[0][2])["method"] == "text"


def tone(seconds, seed):
    rng = np.random.default_rng(seed)
    at = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * (110 + 60 * seed) * at) + 0.1 * rng.standard_normal(len(at))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A folder with a model of two columns of sounds and one of words, three songs, one long, and their index."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    quick, slow = (LogMel(RATE, 0.25, n_mels=16, n_fft=256, hop_length=hop) for hop in (80, 40))
    words = BagOfWords()
    for reader in (quick, slow):
        reader.fit([tone(2, 0)])
    words.fit(["slow waltz", "fast reel"])
    encoders = {
        "quick": ConvNet(quick, [8, 16], 16),
        "slow": ConvNet(slow, [8, 16], 16),
        "caption": EmbeddingBag(words),
    }
    space = Space(8, encoders)
    space.build()
    space.save(folder / "model.ckpt")
    (folder / "music").mkdir()
    for number, (seconds, end) in enumerate([(2, "wav"), (1.6, "ogg"), (100, "flac")]):
        soundfile.write(folder / "music" / f"{number}.{end}", tone(seconds, number), RATE)
    for more in (
        ["--column", "slow", "--field", "mine"],
        ["--field", "few", "--max-windows", "2", "--column", "quick"],
    ):
        words = [str(folder / "model.ckpt"), str(folder / "music"), str(folder / "songs.index")]
        assert main(["index", *words, *more]) == 0
    return folder


@pytest.fixture
def embedders():
    with contextlib.closing(QueryEncoders()) as embedders:
        yield embedders


def test_uploaded_file_gets_the_vector_of_its_field_bit_for_bit(catalogue, embedders):
    with Index.open(catalogue / "songs.index") as index:
        for column in ("mine", "few"):
            embedder = embedders.load(index.path, column)
            for id, vector in zip(*index.vectors(column), strict=True):
                song = str(catalogue / "music" / id)
                assert embedder.sound(song).tobytes() == vector.tobytes(), (column, id)
                assert QueryEncoder.open(index, column).encode(song).tobytes() == vector.tobytes(), (column, id)
        assert index.vectors("mine")[1].tobytes() != index.vectors("few")[1].tobytes()


def test_concurrent_queries_get_the_same_bits(catalogue, embedders):
    embedder = embedders.load(catalogue / "songs.index", "mine")
    songs = [str(catalogue / "music" / name) for name in ("0.wav", "1.ogg", "2.flac")] * 3
    alone = [embedder.sound(song).tobytes() for song in songs], embedder.text("slow waltz").tobytes()
    with ThreadPoolExecutor(2) as hearing, ThreadPoolExecutor(1) as reading:
        texts = [reading.submit(embedder.text, "slow waltz") for _ in range(50)]
        assert [first.tobytes() for first in hearing.map(embedder.sound, songs)] == alone[0]
        assert {first.result().tobytes() for first in texts} == {alone[1]}


def test_torch_threads_are_restored_after_concurrent_use():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    options, cpu = [EmbedOptions(), EmbedOptions()], torch.device("cpu")
    try:
        with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
            first.enter_context(threads(options[0], cpu))
            second.enter_context(threads(options[1], cpu))
            first.close()
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        assert [options_.threads for options_ in options] == [2, 2]
    finally:
        torch.set_num_threads(before)


def test_torch_threads_are_all_available_to_the_next_query():
    before, cpu = torch.get_num_threads(), torch.device("cpu")
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            for _ in range(2):
                inside = [threads(EmbedOptions(), cpu), threads(EmbedOptions(), cpu)]
                for thread, context in zip((first, second), inside, strict=True):
                    thread.submit(context.__enter__).result(10)
                for thread, context in zip((first, second), inside, strict=True):
                    thread.submit(context.__exit__, None, None, None).result(10)
            for thread in (first, second):
                options_ = EmbedOptions()
                with contextlib.ExitStack() as stack:
                    thread.submit(stack.enter_context, threads(options_, cpu)).result(10)
                    thread.submit(stack.close).result(10)
                assert options_.threads == 2
    finally:
        torch.set_num_threads(before)


def test_model_shared_by_two_fields_is_loaded_once_and_released(catalogue, embedders):
    first, second = (embedders.load(catalogue / "songs.index", column) for column in ("mine", "few"))
    assert first.encoder.space is second.encoder.space
    assert first.text("slow waltz").tobytes() == second.text("slow waltz").tobytes()
    with pytest.raises(UsageError, match="none of these words"):
        first.text("polka")
    del first, second
    assert not embedders.spaces


def test_upload_is_searched_in_the_vectors_of_its_field(catalogue, embedders):
    song = (catalogue / "music" / "2.flac").read_bytes()
    with serving(catalogue / "songs.index", load=embedders.load) as port:
        for column in ("mine", "few"):
            until(lambda column=column: get_json(port, f"/api/info?field={column}")["text"] == "ready", 60)
            answer = get_json(port, f"/api/query?field={column}", method="POST", body=song)["hits"]
            assert answer[0]["id"] == "2.flac" and answer[0]["score"] > 0.999999
            assert get_json(port, f"/api/search?q=waltz&field={column}")["method"] == "model"
