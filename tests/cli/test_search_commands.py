"""The commands that ask an index: several items, ways, playlists, neighbours of everything, two models."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import lightning
import numpy as np
import PIL.Image
import pytest
import soundfile
from pyarrow import parquet

from jointembed import (
    BagOfWords,
    Category,
    ConvNet,
    EmbeddingBag,
    Image,
    Index,
    JointEmbedding,
    Match,
    Space,
    TableData,
)
from jointembed.__main__ import main
from jointembed.cli.parts_file import parts_folder
from jointembed.errors import UsageError
from jointembed.index import playlist

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

GENRES = {"waltz": "slow turning strings", "reel": "fast wild fiddle", "blues": "sad lonely guitar"}


def rows():
    table_rows = []
    for at in range(60):
        genre = list(GENRES)[at % 3]
        words = f"{GENRES[genre]} number{at % 5}"
        row = {"id": f"s{at:02}", "split": "train", "title": f"Tune {at}", "artist": f"A{at % 4}", "genre": genre}
        row |= {"audio": f"audio/{at}.flac", "seconds": 30 + at, "seen": [f"s{at:02}", None, "s03"], "words": words}
        table_rows.append(row)
    return table_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A table, two models of different widths, and the index of one of them."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows())))
    lightning.seed_everything(0)
    for name, dim in (("a", 8), ("b", 5)):
        space = JointEmbedding(
            dim,
            {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())},
            [Match("words", "genre", "all")],
            lr=0.05,
        )
        trainer = lightning.Trainer(
            max_epochs=4,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(space, TableData(rows(), batch_size=16))
        space.save(folder / f"{name}.ckpt")
    assert main(["index", str(folder / "a.ckpt"), str(folder), str(folder / "s.index"), "--column", "words"]) == 0
    return folder


@pytest.fixture
def ask(home, capsys, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "160")
    capsys.readouterr()

    def run(*words):
        code = main([str(word) for word in words])
        message = capsys.readouterr()
        return code, message.out, message.err

    return run


def parse(out):
    return json.loads(out)


def test_similar_takes_several_items_and_items_to_move_away_from(ask):
    code, out, _ = ask("similar", "s.index", "s00", "s01", "--unlike", "s02", "--json", "-k6")
    assert code == 0
    with Index.open("s.index") as index:
        assert [hit["id"] for hit in parse(out)] == [hit.id for hit in index.similar(["s00", "s01"], 6, unlike=["s02"])]
    assert {hit["row"]["genre"] for hit in parse(out)} <= {"waltz", "reel"}
    code, out, _ = ask("similar", "s.index", "Tune 0", "--unlike", "Tune 2", "-k", "3", "--json")
    assert code == 0 and len(parse(out)) == 3 and parse(out)[0]["row"]["genre"] == "waltz"
    code, _, err = ask("similar", "s.index", "s00", "--unlike", "nothing")
    assert code == 2 and err.count("\n") == 1 and "nothing" in err


def test_excluded_items_are_left_out_and_one_per_limits_artists(ask):
    best = parse(ask("similar", "s.index", "s00", "--json", "-k1")[1])[0]["id"]
    hits = parse(ask("similar", "s.index", "s00", "--exclude", best, "--one-per", "artist", "--json")[1])
    assert best not in [hit["id"] for hit in hits]
    assert sorted(hit["row"]["artist"] for hit in hits) == ["A0", "A1", "A2", "A3"]


def test_results_say_which_words_they_are_near(ask):
    hits = parse(ask("similar", "s.index", "s02", "--json", "--where", "genre = 'blues'")[1])
    words = {"blues", *GENRES["blues"].split()}
    assert all(len(hit["words"]) == 3 and len(words & set(hit["words"])) >= 2 for hit in hits)
    assert "blues" in ask("similar", "s.index", "s02")[1].splitlines()[2]


def test_an_evaluation_without_a_query_is_refused(ask):
    code, out, err = ask(
        "evaluate", "a.ckpt", "rows.jsonl", "--query", "words", "--target", "words", "--split", "train"
    )
    assert (code, out) == (2, "") and "no row has two cells of words" in err and "--relevant" in err
    options = ["--query", "words", "--target", "genre", "--relevant", "id", "--split", "train"]
    assert ask("evaluate", "a.ckpt", "rows.jsonl", *options)[0] == 0


def test_a_missing_file_is_not_searched_as_words(ask):
    code, out, err = ask("search", "s.index", "Music/none.FLAC")
    assert code == 2 and not out and err.count("\n") == 1 and "this file does not exist" in err
    code, _, err = ask("search", "s.index", "none.flac", "--column", "words")
    assert code == 2 and "knows none of these words" in err
    assert ask("search", "s.index", "slow no.1")[0] == 0


def test_words_that_the_model_does_not_know_are_looked_for_in_the_columns(ask):
    code, out, err = ask("search", "s.index", "Tune 17", "-k1", "--json")
    assert code == 0 and [hit["id"] for hit in parse(out)] == ["s17"]
    assert err == "note: the model knows none of these words; these items contain the words\n"
    nothing = "note: the model knows none of these words; no item contains the words\n"
    assert ask("search", "s.index", "xyzzy qwerty") == (0, "no results\n", nothing)
    assert ask("search", "s.index", "xyzzy qwerty", "--json") == (0, "[]\n", nothing)
    for options in (["--one-per", "artist"], ["--column", "words"]):
        code, out, err = ask("search", "s.index", "Tune 17", *options)
        assert (code, out) == (2, "") and "knows none of these words" in err
    for mode in ("vector", "hybrid"):
        assert ask("search", "s.index", "Tune 17", "--mode", mode)[0] == 2


def test_a_playlist_holds_the_results_in_their_order_with_relative_paths(ask, home, tmp_path):
    code, out, err = ask("similar", "s.index", "s00", "-k2", "--m3u", tmp_path / "x.m3u8", "--root", home / "lists")
    assert code == 0 and "2 songs" in err and "2 songs" not in out
    lines = (tmp_path / "x.m3u8").read_text().splitlines()
    hits = parse(ask("similar", "s.index", "s00", "-k2", "--json")[1])
    message = [f"#EXTINF:{hit['row']['seconds']},{hit['row']['artist']} - {hit['row']['title']}" for hit in hits]
    assert lines == [
        "#EXTM3U",
        message[0],
        f"../{hits[0]['row']['audio']}",
        message[1],
        f"../{hits[1]['row']['audio']}",
    ]
    assert ask("similar", "s.index", "s00", "--m3u", tmp_path / "x.txt")[0] == 2
    assert ask("similar", "s.index", "s00", "-k1", "--m3u", tmp_path / "x.m3u", "--root", "/")[0] == 0
    absolute = str(home / hits[0]["row"]["audio"])
    assert (tmp_path / "x.m3u").read_text().splitlines() == ["#EXTM3U", "#EXTENC:UTF-8", message[0], absolute]


def test_a_query_and_five_answers_are_drawn_with_their_spectrograms(ask, home, tmp_path, monkeypatch):
    from jointembed.analyze import answers_plot

    nearest = [hit["id"] for hit in parse(ask("similar", "s.index", "s00", "--json")[1])][:5]
    (home / "audio").mkdir(exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    for id, seconds in (("s00", 1), (nearest[1], 2)):  # the other files do not exist
        soundfile.write(home / f"audio/{int(id[1:])}.flac", np.tile(noise, seconds), 8000)
    pictures, draw = [], answers_plot.draw
    monkeypatch.setattr(answers_plot, "draw", lambda *words: (pictures.append(words), draw(*words)))
    for name in ("a", "b"):
        code, _, err = ask("similar", "s.index", "s00", "--png", tmp_path / f"{name}.png")
        assert code == 0 and "spectrograms of the query and of 5 results" in err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    _, [query], answers = pictures[0]
    assert query.name == "Tune 0" and query.duration == 1 and query.frames.shape[1] == 96
    assert [sound.name for sound in answers] == [f"Tune {int(id[1:])}" for id in nearest]
    assert [sound.duration for sound in answers] == [0, 2, 0, 0, 0] and answers[0].frames is None
    assert answers[1].note.endswith(f"A{int(nearest[1][1:]) % 4}, {list(GENRES)[int(nearest[1][1:]) % 3]}")
    assert ask("similar", "s.index", "s00", "--png", tmp_path / "x.txt")[0] == 2


@pytest.mark.parametrize(
    "words", [("similar", "s00", "-k2"), ("path", "s00", "s02"), ("search", "Tune", "--mode", "text")]
)
def test_json_stays_json_when_a_playlist_is_written_too(ask, tmp_path, words):
    command, *rest = words
    code, out, err = ask(command, "s.index", *rest, "--json", "--m3u", tmp_path / "x.m3u8")
    assert code == 0 and parse(out) and "songs" in err


def test_values_and_ids_may_begin_with_a_hyphen(ask, tmp_path):
    ids = ["+A", "-A", "--k", "-", "plain"]
    with Index.create(tmp_path / "odd.index", 4, "euclidean") as index:
        index.add([{"id": id} for id in ids], np.eye(5, 4, dtype=np.float32), "audio")
    for id in ids:
        code, out, _ = ask("similar", tmp_path / "odd.index", "--json", "-k", "9", "--", id)
        assert code == 0 and {hit["id"] for hit in parse(out)} == set(ids) - {id}
    code, out, _ = ask("similar", tmp_path / "odd.index", "plain", "--exclude=-A", "--unlike=--k", "+A", "--json")
    assert code == 0 and {hit["id"] for hit in parse(out)} == {"-"}
    for words, message in ((["-k", "-3"], "-3"), (["--k", "-3"], "-3"), (["--diversity", "-0.5"], "-0.5")):
        code, _, err = ask("similar", "s.index", "s00", *words)
        assert code == 2 and message in err
    code, _, err = ask("similar", "s.index", "s00", "--where", "--json")
    assert code == 2 and "--where" in err


def test_a_place_that_cannot_be_written_to_is_named_in_one_line(ask, tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("d.m3u8", "d.parquet", "d.png"):
        (tmp_path / name).mkdir()
    for place in (tmp_path, tmp_path / "file"):
        for words in (
            ["similar", "s.index", "s00", "--m3u", place / "d.m3u8"],
            ["neighbors", "s.index", place / "d.parquet"],
            ["cluster", "s.index", "--dry-run", "--plot", place / "d.png"],
            ["page", "s.index", tmp_path / "file" / "d.html"],
            ["projector", "s.index", tmp_path / "file" / "d"],
        ):
            code, _, err = ask(*words)
            assert code == 2 and "cannot be written" in err and err.splitlines()[-1].startswith("jointembed: error")
    assert (tmp_path / "file").read_text() == ""


def test_a_path_leads_from_one_to_the_other(ask):
    code, out, _ = ask("path", "s.index", "Tune 0", "s02", "--n", "5", "--json")
    hits = parse(out)
    assert code == 0 and len(hits) == 5 and hits[0]["id"] == "s00" and hits[-1]["id"] == "s02"
    code, _, err = ask("path", "s.index", "Tune 0", "Tune 99")
    assert code == 2 and "Tune 99" in err
    assert ask("path", "s.index", "s00", "s00")[0] == 2


def test_text_mode_needs_no_model_and_hybrid_mode_adds_vectors(ask, home):
    hits = parse(ask("search", "s.index", "Tune 7", "--mode", "text", "--json", "-k3")[1])
    assert hits[0]["id"] == "s07"
    hits = parse(ask("search", "s.index", "sad guitar", "--mode", "hybrid", "--json", "-k5")[1])
    assert {hit["row"]["genre"] for hit in hits} == {"blues"}
    code, _, err = ask("search", "s.index", "sad", "--mode", "text", "--one-per", "artist")
    assert code == 2 and "--one-per" in err


def test_an_index_holds_vectors_of_two_models(ask, home, tmp_path):
    place = tmp_path / "two.index"
    assert ask("index", "a.ckpt", ".", place, "--column", "words")[0] == 0
    code, _, err = ask("index", "b.ckpt", ".", place, "--column", "words")
    assert code == 4 and "--field" in err
    code, _, err = ask("index", "a.ckpt", ".", place, "--column", "genre", "--field", "words")
    assert code == 2 and "these vectors are of the column words" in err
    assert ask("index", "b.ckpt", ".", place, "--column", "words", "--field", "small")[0] == 0
    code, out, _ = ask("index", "b.ckpt", ".", place, "--column", "words", "--field", "small")
    assert code == 0 and "60 of them unchanged" in out
    for among, model in ((None, "a"), ("small", "b")):
        more = [] if among is None else ["--field", among]
        hits = parse(ask("search", place, "sad guitar", "--json", *more)[1])
        space = Space.load(home / f"{model}.ckpt")
        with Index.open(place) as index:
            vector = space.embed("words", ["sad guitar"])[0]
            assert [hit["id"] for hit in hits] == [hit.id for hit in index.search(vector, 10, among)]
            assert index.vectors(among)[1].shape == (60, space.dim)
            words, vectors = index.vocabulary(among)
            assert "blues" in words and vectors.shape == (len(words), space.dim)
        assert len(hits[0]["words"]) == 3
    assert "60 vectors of words, 60 vectors of small" in ask("verify", place)[1]


def test_neighbors_of_every_item_are_those_that_similar_gives(ask, tmp_path):
    out = tmp_path / "n.parquet"
    assert ask("neighbors", "s.index", out, "-k", "4", "--one-per", "artist")[0] == 0
    table = parquet.read_table(out).to_pylist()
    assert len(table) == 60
    with Index.open("s.index") as index:
        for row in table[:9]:
            hits = index.search(index.get_vectors([row["id"]])[0], 4, exclude=[row["id"]], one_per="artist")
            assert row["neighbors"] == [hit.id for hit in hits]
            assert np.allclose(row["scores"], [hit.score for hit in hits], atol=1e-6)
    assert not list(tmp_path.glob("*.parts"))


def test_neighbors_of_a_tables_rows_leave_out_what_each_has_seen(ask, tmp_path):
    out = tmp_path / "n.parquet"
    words = ["neighbors", "s.index", out, "--queries", ".", "--column", "words", "--exclude", "seen", "-k3"]
    code, message, err = ask(*words, "--where", "genre = 'waltz'")
    assert code == 0, err
    for row in parquet.read_table(out).to_pylist():
        assert len(row["neighbors"]) == 3 and not {row["id"], "s03"} & set(row["neighbors"])
        assert all(int(neighbor[1:]) % 3 == 0 for neighbor in row["neighbors"])
    code, _, err = ask(*words[:-3], "--exclude", "sen")
    assert code == 2 and "did you mean seen" in err
    assert ask("neighbors", "s.index", tmp_path / "n.csv")[0] == 2
    for flag in ("--exclude", "--column", "--split"):  # without a table they would be passed over
        code, _, err = ask("neighbors", "s.index", out, flag, "words")
        assert code == 2 and "--queries" in err
    assert ask("neighbors", "s.index", out, "-k0")[0] == 2


def test_neighbors_of_a_table_leave_out_rows_whose_files_cannot_be_read(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for at in range(6):
        PIL.Image.fromarray(np.full((8, 8, 3), 40 * at, np.uint8)).save(pictures / f"{at}.png")
    table = [{"id": f"p{at}", "file": f"pictures/{at}.png"} for at in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, table)))
    space = Space(4, {"file": ConvNet(Image([8, 8]), [4], 8)})
    space.build()
    space.save(tmp_path / "m.ckpt")
    index, out = tmp_path / "p.index", tmp_path / "n.parquet"
    assert main(["index", str(tmp_path / "m.ckpt"), str(tmp_path), str(index)]) == 0
    (pictures / "2.png").write_bytes(b"damaged")
    (pictures / "4.png").unlink()
    words = ["neighbors", str(index), str(out), "--queries", str(tmp_path), "-k", "2"]
    capsys.readouterr()
    assert main([*words, "--strict"]) == 3 and not out.exists()
    assert "2 files cannot be read" in capsys.readouterr().err
    assert main(words) == 0
    assert "2 of 6 files of file cannot be read, and are skipped" in capsys.readouterr().err
    assert [row["id"] for row in parquet.read_table(out).to_pylist()] == ["p0", "p1", "p3", "p5"]
    with Index.open(index) as opened:
        for row in parquet.read_table(out).to_pylist():
            assert row["neighbors"] == [hit.id for hit in opened.search(opened.get_vectors([row["id"]])[0], 2)]


def test_neighbors_resume_where_they_stopped(tmp_path):
    place, out = tmp_path / "many.index", tmp_path / "n.parquet"
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30_000, 16)).astype(np.float32)
    with Index.create(place, 16, "euclidean") as index:
        index.add([{"id": str(at)} for at in range(30_000)], vectors, "audio")
    command = [sys.executable, "-m", "jointembed", "neighbors", str(place), str(out), "-k", "2"]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        while not list(tmp_path.glob("*.parts/*.parquet")):
            time.sleep(0.005)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    [part] = sorted(tmp_path.glob("*.parts/00000000.parquet"))
    before = part.stat().st_mtime_ns, parquet.read_table(part)
    assert main(command[3:]) == 0
    table = parquet.read_table(out)
    assert table["id"].to_pylist() == [str(at) for at in range(30_000)]
    assert table.slice(0, len(before[1])).equals(before[1])
    apart = np.square(vectors - vectors[123]).sum(1)
    assert table["neighbors"][123].as_py() == [str(at) for at in np.argsort(apart)[1:3]]


def test_a_model_that_was_moved_is_found_whatever_its_column_is_called(ask, home, tmp_path):
    place, model, moved = tmp_path / "n.index", tmp_path / "m.ckpt", tmp_path / "moved.ckpt"
    shutil.copy(home / "a.ckpt", model)
    assert ask("index", model, ".", place, "--column", "words", "--field", "told")[0] == 0
    model.rename(moved)
    assert ask("search", place, "sad guitar")[0] == 2
    assert ask("index", moved, ".", place, "--column", "words", "--field", "told")[0] == 0
    assert ask("search", place, "sad guitar")[0] == 0
    assert "its model is unchanged" in ask("verify", place)[1]


def test_verify_compares_the_model_of_each_column(ask, home, tmp_path):
    place, second = tmp_path / "two.index", tmp_path / "second.ckpt"
    shutil.copy(home / "b.ckpt", second)
    assert ask("index", "a.ckpt", ".", place, "--column", "words")[0] == 0
    assert ask("index", second, ".", place, "--column", "words", "--field", "small")[0] == 0
    second.unlink()
    assert "the model that made small is missing" in ask("verify", place)[1]
    shutil.copy(home / "a.ckpt", second)
    assert ask("verify", place)[0] == 4


def test_neighbors_of_no_items_and_of_file_names_that_are_no_text(ask, tmp_path):
    place, out = tmp_path / "a.index", tmp_path / "n.parquet"
    with Index.create(place, 2, "cosine") as index:
        index.add([{"id": "x\udcff"}, {"id": "y"}], np.eye(2, dtype=np.float32), "audio")
    assert ask("neighbors", place, out)[0] == 0
    assert [row["neighbors"] for row in parquet.read_table(out).to_pylist()] == [["y"], ["x\\udcff"]]
    with Index.open(place) as index:
        index.remove(index.ids())
    assert ask("neighbors", place, out)[0] == 0 and len(parquet.read_table(out)) == 0


def test_an_index_whose_rows_are_all_gone_finds_nothing(ask, home, tmp_path):
    place = tmp_path / "a.index"
    assert ask("index", "a.ckpt", ".", place, "--column", "words")[0] == 0
    with Index.open(place) as index:
        index.remove(index.ids())
    for more in ((), ("--mode", "text"), ("--mode", "hybrid")):
        code, out, err = ask("search", place, "sad guitar", "--json", *more)
        assert (code, parse(out)) == (0, []), err


def test_excluded_items_must_exist(ask):
    code, out, err = ask("similar", "s.index", "s00", "--exclude", "a.ckpt")
    assert code == 2 and "a.ckpt" in err and "no such id" in err


def test_an_empty_index_answers_in_one_line(ask, home, tmp_path):
    place = tmp_path / "empty.index"
    Index.create(place, 8, "cosine", str(home / "a.ckpt"), Space.load(home / "a.ckpt").fingerprint).close()
    for *words, message in (
        ["search", place, "sad guitar", "this index is empty"],
        ["similar", place, "rows.jsonl", "no column for such a query"],
        ["similar", place, "s00", "nothing to choose from"],
        ["path", place, "s00", "s01", "nothing to choose from"],
    ):
        code, _, err = ask(*words)
        assert (code, err.count("\n")) == (2, 1) and message in err


def test_file_that_no_column_reads_is_refused(ask, tmp_path):
    code, _, err = ask("similar", "s.index", "rows.jsonl")
    assert code == 2 and "no column for such a query" in err


def test_neighbors_are_written_by_one_process_at_a_time(ask, tmp_path):
    out = tmp_path / "n[1].parquet"
    code, _, _ = ask("neighbors", "s.index", out, "-k2")
    assert code == 0 and not list(tmp_path.glob("*.parts"))
    with parts_folder(str(out), "other wishes") as part:
        (part / "00000000.parquet").write_bytes(b"work")
        code, _, err = ask("neighbors", "s.index", out, "-k3")
        assert code == 2 and err.count("\n") == 1 and "another process is writing it" in err
        with pytest.raises(UsageError, match="another process is writing it"), parts_folder(str(out), "other wishes"):
            pass
        assert (part / "00000000.parquet").read_bytes() == b"work"
    assert ask("neighbors", "s.index", out, "-k3")[0] == 0 and not list(tmp_path.glob("*.parts"))


def test_a_playlist_has_a_line_for_each_song_whatever_its_name(tmp_path):
    names = ["#1 hit.mp3", "plain.mp3", "two\nlines.mp3"]
    with Index.create(tmp_path / "a.index", 2, "euclidean", root=str(tmp_path)) as index:
        index.add([{"id": name, "path": name} for name in names], np.eye(3, 2, dtype=np.float32), "audio")
        playlist.write(str(tmp_path / "a.m3u8"), index, index.search(np.zeros(2), 3))
    lines = (tmp_path / "a.m3u8").read_text().splitlines()
    assert sorted(line for line in lines if not line.startswith("#")) == ["./#1 hit.mp3", "plain.mp3"]


def test_an_approximate_search_is_built_on_request_and_extended_later(ask, tmp_path, monkeypatch, caplog):
    pytest.importorskip("faiss")
    table, place = tmp_path / "rows.jsonl", tmp_path / "s.index"
    words, rng = [*" ".join(GENRES.values()).split(), *(f"number{at}" for at in range(5))], np.random.default_rng(0)
    many = [{"id": str(at), "words": " ".join(rng.choice(words, rng.integers(5, 20)))} for at in range(2_700)]
    table.write_text("\n".join(map(json.dumps, many[:1_100])))
    code, out, _ = ask("index", "a.ckpt", table, place, "--column", "words", "--approximate")
    assert code == 0 and "of the 10 nearest items; searches use it" in out
    table.write_text("\n".join(map(json.dumps, many)))
    assert ask("index", "a.ckpt", table, place, "--column", "words")[0] == 0
    with Index.open(place) as index, index.reading() as snapshot:
        assert len(snapshot.field(None).approximate.graph) > 2_000
    assert ask("similar", place, "7", "-k", "3")[0] == 0 and ask("verify", place)[0] == 0
    code, _, err = ask("index", "a.ckpt", "rows.jsonl", tmp_path / "few.index", "--column", "words", "--approximate")
    assert code == 2 and "at least 1000 vectors, got 60" in err and err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "faiss", None)
    code, _, err = ask("index", "a.ckpt", "rows.jsonl", tmp_path / "none.index", "--approximate")
    assert code == 2 and "jointembed[ann]" in err and not (tmp_path / "none.index").exists()
    assert ask("similar", place, "7", "-k", "3")[0] == 0 and "searched exactly" in caplog.text
