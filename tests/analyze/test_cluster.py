"""Clusters of an index: what is found, how it is called, how well it agrees, where it is kept, how it is drawn."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jointembed.__main__ import main
from jointembed.analyze import cluster_names
from jointembed.analyze.cluster import agreement, central, clusters, keep, kept, principal
from jointembed.analyze.cluster_names import log_odds, named
from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.index.selection import items, read

GENRES = ["waltz", "polka", "reel", "tango"]


def heaps(sizes, dim=24, spread=0.05, seed=0):
    """Vectors of length 1 round far centres, shuffled, and which centre each is of."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((len(sizes), dim))
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = middles[truth] + spread * rng.standard_normal((len(truth), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


@pytest.fixture
def songs(tmp_path):
    vectors, truth = heaps([60, 50, 40, 30])
    rng = np.random.default_rng(1)
    rows = []
    for at, one in enumerate(truth.tolist()):
        rows.append({
            "id": f"s{at}", "title": f"Song {at}", "genre": GENRES[one], "tempo": 90 + 30 * one + int(rng.integers(9)),
            "tags": [["slow", "fast"][one % 2], ["sad", "live"][at % 2]], "_path": f"rock/{at}.wav",
            "caption": [f"{['a', 'one', 'the'][at % 3]} tune number {at} that {['floats', 'hops'][one // 2]} along"],
        })  # fmt: skip
    place = tmp_path / "songs.index"
    with Index.create(place, 24, "cosine") as index:
        index.add(rows, vectors, "audio")
    return place


def ask(capsys, *words, code=0):
    assert main(["cluster", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return err if code else out


@pytest.mark.parametrize("k", [4, None])
def test_far_heaps_are_found_and_numbered_by_their_size(k):
    vectors, truth = heaps([60, 50, 40, 30])
    found = clusters(vectors, k)
    assert (found.labels == truth).all() and len(found) == 4
    assert ("k-means" in found.how) == (k is not None)


def test_most_of_what_lies_between_the_heaps_is_in_none():
    vectors, truth = heaps([100, 80])
    stray = np.random.default_rng(5).standard_normal((12, 24)).astype(np.float32)
    stray /= np.linalg.norm(stray, axis=1, keepdims=True)
    found = clusters(np.concatenate([vectors, stray]))
    assert (found.labels[:180] == truth).all() and (found.labels[180:] == -1).mean() > 0.5


def test_of_very_many_items_a_sample_makes_the_clusters_and_the_others_follow(monkeypatch):
    monkeypatch.setattr("jointembed.analyze.cluster.SAMPLE", 150)
    vectors, truth = heaps([300, 200, 100])
    found = clusters(vectors)
    assert (found.labels == truth).all() and "of 150 items" in found.how


def test_without_dense_places_k_means_says_so():
    rng = np.random.default_rng(0)
    found = clusters(rng.standard_normal((300, 8)).astype(np.float32))
    assert "k-means" in found.how and "few items lie in dense places" in found.how
    assert len(found) >= 2 and found.labels.min() == 0


@pytest.mark.parametrize("count", [1, 2, 4, 60])
@pytest.mark.parametrize("k", [None, 1])
def test_few_items_and_items_that_are_all_alike_are_one_cluster(count, k):
    found = clusters(np.full((count, 5), 0.5, np.float32), k)
    assert (found.labels == 0).all() and len(found) == 1
    assert principal(np.full((count, 5), 0.5, np.float32), 2)[0].shape == (count, 2)


def test_more_clusters_than_different_items_are_not_made_up():
    vectors = np.repeat(np.eye(3, dtype=np.float32), [5, 4, 3], axis=0)
    found = clusters(vectors, 6)
    assert found.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 3 and "only 3 of 6 clusters" in found.how


def test_small_batches_find_the_same_heaps(monkeypatch):
    monkeypatch.setattr("jointembed.analyze.cluster.LARGE", 100)
    vectors, truth = heaps([60, 50, 40, 30])
    found = clusters(vectors, 4)
    assert (found.labels == truth).all() and "small batches" in found.how


@pytest.mark.parametrize("k", [0, -1, 13])
def test_a_number_of_clusters_that_cannot_be_is_refused(k):
    with pytest.raises(UsageError, match="from 1 to 12"):
        clusters(np.eye(12, dtype=np.float32), k)


def test_the_same_vectors_give_the_same_clusters_in_another_process():
    script = (
        "import sys, zlib, numpy as np; from jointembed.analyze.cluster import clusters;"
        "v = np.random.default_rng(0).standard_normal((400, 12)).astype(np.float32);"
        "print(zlib.crc32(clusters(v, 7).labels.tobytes()), zlib.crc32(clusters(v).labels.tobytes()))"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout.split()) == 2


def test_the_most_central_item_is_the_nearest_to_the_mean():
    vectors, truth = heaps([60, 50, 40])
    for label, place in enumerate(central(vectors, truth)):
        inside = vectors[truth == label].astype(np.float64)
        least = np.linalg.norm(inside - inside.mean(0), axis=1).min()
        assert truth[place] == label
        assert np.isclose(np.linalg.norm(vectors[place] - inside.mean(0)), least)


def test_log_odds_are_those_of_the_formula():
    counts = np.array([[8.0, 2.0, 0.0], [10.0, 40.0, 40.0]])
    alpha = 10 * counts.sum(0) / 100
    y, n = counts[0] + alpha, 10 + 10
    rest, m = counts[1] + alpha, 90 + 10
    delta = np.log(y / (n - y)) - np.log(rest / (m - rest))
    np.testing.assert_allclose(log_odds(counts)[0], delta / np.sqrt(1 / y + 1 / rest), rtol=1e-6)
    assert log_odds(counts)[0].argmax() == 0


def test_a_name_says_what_is_commoner_than_in_the_others_and_not_what_is_common():
    vectors, truth = heaps([60, 50, 40, 30])
    rows = [{"genre": GENRES[one], "medium": "vinyl", "tempo": 100 + 40 * (one == 3)} for one in truth]
    made = named(vectors, truth, rows)
    assert [one.name.split(",")[0] for one in made] == ["1 waltz", "2 polka", "3 reel", "4 tango"]
    assert not any(trait.column == "medium" for one in made for trait in one.traits)
    assert made[3].name == "4 tango, tempo 140" and str(made[3].traits[0]) == "tango 100% (all: 17%)"
    assert [one.items for one in made] == [60, 50, 40, 30]


def test_numbers_that_are_labels_name_by_value_and_others_by_their_mean():
    vectors, truth = heaps([60, 50])
    rng = np.random.default_rng(0)
    rows = [
        {"digit": int(one), "stars": f"{one + 3}", "tempo": 110.2 + 50.0 * one + rng.random() / 2,
         "year": 1900 + int(rng.integers(99))} for one in truth
    ]  # fmt: skip
    made = named(vectors, truth, rows)
    assert made[1].name == "2 digit 1, stars 4"
    told = [str(trait) for trait in made[1].traits]
    assert told == ["digit 1 100% (all: 45%)", "stars 4 100% (all: 45%)", "tempo 160 (all: 133)"]


def test_chance_names_nothing():
    rng = np.random.default_rng(0)
    vectors, truth = heaps([300, 300, 300])
    words = [f"w{one}" for one in range(50)]
    rows = [
        {"genre": GENRES[rng.integers(4)], "tags": [words[rng.integers(50)] for _ in range(3)],
         "tempo": float(rng.normal())} for _ in truth
    ]  # fmt: skip
    assert [one.name for one in named(vectors, truth, rows)] == ["1 mixed", "2 mixed", "3 mixed"]


def test_a_few_items_are_no_evidence():
    truth = np.repeat([0, 1], [100, 6])
    vectors = np.eye(2, dtype=np.float32)[truth]
    rows = [{"genre": "jig" if at % 16 == 0 else "reel", "tempo": 100 + at % 9 + 0.5} for at in range(100)]
    rows += [
        {"genre": genre, "tempo": tempo} for genre, tempo in zip(["jig", "reel"] * 3, [99.5, 120.5] * 3, strict=True)
    ]
    assert [one.name for one in named(vectors, truth, rows)] == ["1 mixed", "2 mixed"]
    more = [{"genre": "jig", "tempo": 119.5 + at % 3} for at in range(6)]
    assert named(vectors, truth, rows[:100] + more)[1].name == "2 jig, tempo 120"


def test_names_differ_and_fit_one_line_whatever_the_cells_hold():
    vectors, truth = heaps([40, 40, 40])
    odd = ["a\nb\x1b[31m'\"$x$ " + "long " * 30, "a\nb\x1b[31m'\"$x$ " + "long " * 30, "<b>\udce9 日本"]
    rows = [{"genre": odd[one], "facts": None, "none": None} for one in truth]
    names = [one.name for one in named(vectors, truth, rows)]
    assert len(set(names)) == 3 and all(name.isprintable() and len(name) < 80 for name in names)


def test_words_of_the_model_name_clusters_but_hub_words_do_not():
    vectors, truth = heaps([60, 50, 40])
    middles = np.stack([vectors[truth == one].mean(0) for one in range(3)])
    apart = np.random.default_rng(3).standard_normal(24)  # words lie elsewhere than items
    terms = ["song", "waltz", "polka", "reel", "noise"]
    points = np.stack([middles.mean(0) * 3, *middles, -middles.mean(0)]) + apart
    made = named(vectors, truth, [{} for _ in truth], (terms, points.astype(np.float32)))
    assert [one.words[0] for one in made] == ["waltz", "polka", "reel"]
    twice = [*terms, "Waltz time"], np.concatenate([points, points[1:2] * 0.99]).astype(np.float32)
    assert cluster_names.words(vectors, truth, *twice)[0][0] == "waltz", "and not the same again"
    assert "Waltz time" not in cluster_names.words(vectors, truth, *twice)[0]
    assert [one.name for one in made] == ["1 waltz", "2 polka", "3 reel"]
    shuffled = np.random.default_rng(0).permutation(truth)
    assert sum(map(len, cluster_names.words(vectors, shuffled, terms, points.astype(np.float32)))) <= 1


def test_words_that_the_index_keeps_are_said_beside_the_cells(songs, capsys):
    with Index.open(songs) as index:
        ids, vectors = index.vectors()
        known = [row["genre"] for row in read(index, ids)]
        middles = np.stack([vectors[[one == genre for one in known]].mean(0) for genre in GENRES])
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        index.set_vocabulary(["ballroom", "hop", "fiddle", "dance"], middles, "audio")
    found = json.loads(ask(capsys, songs, "--json"))["clusters"]
    assert [one["words"] for one in found] == [["ballroom"], ["hop"], ["fiddle"], ["dance"]]
    assert "nearest words" in ask(capsys, songs) and "fiddle" in ask(capsys, songs)
    assert [one["name"] for one in found[:2]] == ["1 waltz, slow", "2 polka, fast"], "most of them have both"
    rows = [{"genre": GENRES[one], "tags": ["odd"] * (at % 3 > 1)} for at, one in enumerate(np.repeat([0, 1], 60))]
    terms = ["low", "high"], np.eye(2, dtype=np.float32)
    made = named(np.eye(2, dtype=np.float32)[np.repeat([0, 1], 60)], np.repeat([0, 1], 60), rows, terms)
    assert [one.name for one in made] == ["1 waltz, low", "2 polka, high"], "words come before what few have"


def test_agreement_is_one_for_the_truth_and_chance_for_a_shuffle():
    truth = np.repeat([0, 1, 2, 3], [60, 50, 40, 30])
    cells = [GENRES[one] for one in truth]
    whole = agreement(truth, cells)
    assert whole["items"] == 180 and whole["values"] == 4
    assert all(one["value"] == pytest.approx(1) for one in whole["figures"].values())
    shuffled = agreement(np.random.default_rng(0).permutation(truth), cells)["figures"]
    for name, one in shuffled.items():
        assert abs(one["value"] - one["chance"]) < 0.1, name
    assert shuffled["purity"]["chance"] > 0.3 and abs(shuffled["ami"]["chance"]) < 0.02


def test_agreement_counts_what_is_in_no_cluster_and_not_what_has_no_cell():
    cells = ["a"] * 4 + ["b"] * 4 + [None, None]
    labels = np.array([0, 0, 0, 0, -1, -1, -1, 0, 0, 0])
    found = agreement(labels, cells)
    assert found["items"] == 8 and found["figures"]["purity"]["value"] == pytest.approx(7 / 8)
    lists = agreement(np.array([0, 0, 1, 1]), [["a", "b"], ["a"], ["b"], []])
    assert lists["items"] == 3 and lists["figures"]["purity"]["value"] == pytest.approx(3 / 4)
    with pytest.raises(UsageError, match="no item has a cell"):
        agreement(labels, [None] * 10)


def test_clusters_are_kept_as_a_column_that_conditions_know(songs, capsys):
    before = Index.open(songs).vectors()[1].copy()
    out = ask(capsys, songs, "--output-column", "cluster", "--compare-to", "genre")
    assert "1 waltz" in out and "v_measure" in out and "cluster = '1 waltz" in out
    with Index.open(songs) as index:
        name = index.row(index.similar("s0")[0].id)["cluster"]
        hits = index.search(before[0], 200, where=f"cluster = '{name}'")
        assert len({hit.row["genre"] for hit in hits}) == 1 and 30 <= len(hits) <= 60
        assert (index.vectors()[1] == before).all()
        assert index.resolve("rock/7.wav") == "s7", "its files are still known"
        generation = index.generation
    ask(capsys, songs, "--k", "2", "--output-column", "cluster", "--where", "genre in ('waltz', 'reel')")
    with Index.open(songs) as index:
        assert index.generation == generation + 1, "one transaction"
        kept = items(index).rows
        assert all(("cluster" in row) == (row["genre"] in ("waltz", "reel")) for row in kept)
        assert len({row.get("cluster") for row in kept}) == 3
    again = json.loads(ask(capsys, songs, "--k", "2", "--json"))["clusters"]
    told = {trait["column"] for one in again for trait in one["traits"]}
    assert "genre" in told and "cluster" not in told, "clusters are not named by older clusters"


def test_clusters_outlast_the_rows_being_written_again(songs, capsys):
    ask(capsys, songs)
    with Index.open(songs) as index:
        row = index.row("s3")
        again, new = kept(index, [{"id": "s3", "genre": "other"}, {"id": "new", "genre": "reel"}])
        assert again == {"cluster": row["cluster"], "id": "s3", "genre": "other"} and new == {
            "id": "new",
            "genre": "reel",
        }
        assert kept(index, [{"id": "s3", "cluster": "by hand"}]) == [{"id": "s3", "cluster": "by hand"}]


def test_a_column_that_came_with_the_rows_is_not_written_over(songs, capsys):
    before = Index.open(songs).row("s3")
    for name in ("genre", "tempo", "tags"):
        assert "a column of this name of their own" in ask(capsys, songs, "--output-column", name, code=2)
    for name in ("id", "_path", 'a"b', " ", "a\\b"):
        assert "cannot be called so" in ask(capsys, songs, "--output-column", name, code=2)
    assert Index.open(songs).row("s3") == before
    ask(capsys, songs, "--output-column", "group")
    with Index.open(songs) as index:  # the data come with such a column later
        index.update([{**index.row("s3"), "group": "by hand"}])
    assert "of their own" in ask(capsys, songs, "--output-column", "group", code=2)
    assert Index.open(songs).row("s3")["group"] == "by hand"


def test_a_failure_in_the_middle_leaves_the_index_as_it_was(songs, monkeypatch):
    with Index.open(songs) as index:
        chosen, before = items(index), index.generation
        labels = np.zeros(len(chosen.ids), np.int64)
        monkeypatch.setattr("jointembed.analyze.cluster.note", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keep(index, "cluster", chosen.ids, labels, ["1 mixed"])
        assert index.generation == before and not any("cluster" in row for row in items(index).rows)


def test_nothing_is_written_by_a_look(songs, capsys):
    content = songs.read_bytes()
    found = json.loads(ask(capsys, songs, "--json", "--compare-to", "genre", "--dry-run"))
    assert songs.read_bytes() == content
    assert [one["items"] for one in found["clusters"]] == [60, 50, 40, 30] and found["in no cluster"] == 0
    assert found["against"]["figures"]["ami"]["value"] == pytest.approx(1)
    with Index.open(songs) as index:
        assert index.row(found["clusters"][0]["central"])["genre"] == "waltz"


def test_the_table_fits_the_terminal(songs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    out = ask(capsys, songs, "--compare-to", "tags", "--dry-run")
    assert max(map(len, out.splitlines())) <= 80
    assert "compared to tags: 180 items with one of 4 values" in out and "chance" in out and "Song " in out


@pytest.mark.parametrize("k", [3, 20, 90])
def test_the_picture_shows_every_cluster_in_a_colour_and_is_the_same_again(songs, capsys, tmp_path, k):
    ask(capsys, songs, "--k", k, "--plot", tmp_path / "a.png")
    ask(capsys, songs, "--k", k, "--plot", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG" and min(image.size) >= 1000
        seen = {colour for count, colour in image.convert("RGB").getcolors(1 << 24) if count > 50}
    wanted = {(0, 114, 178), (230, 159, 0), (0, 158, 115)}
    assert wanted <= seen, "the legend has them in full"


def test_cells_of_every_kind_are_gone_through(tmp_path, capsys):
    vectors, truth = heaps([30, 20])
    odd = [
        10**400,
        1e300,
        True,
        None,
        [],
        ["日本 $x$", "a\nb"],
        {"a": 1},
        "",
        " ",
        "\udce9",
        [[1, 2]],
        [1, "a"],
        -0.0,
        "x" * 9999,
    ]
    genres = ["日本", "<b>$x_1$"]
    rows = [{"id": f"{at}\n\udce9'\"", "odd": odd[at % len(odd)], 'a"b\\$': odd[one], "genre": genres[one]}
            for at, one in enumerate(truth.tolist())]  # fmt: skip
    with Index.create(tmp_path / "odd.index", 24, "cosine") as index:
        index.add(rows, vectors, "x")
    for more in ((), ("--json",), ("--compare-to", "odd"), ("--plot", tmp_path / "odd.png")):
        assert "日本" in ask(capsys, tmp_path / "odd.index", *more)
    with Index.open(tmp_path / "odd.index") as index:
        found = [index.row(id) for id in index.ids()]
    assert {row["cluster"] for row in found} == {"1 日本", "2 <b>$x_1$"}
    assert [{name: cell for name, cell in row.items() if name != "cluster"} for row in found] == rows


@pytest.mark.parametrize("name", ["cluster", "in", "mood of it"])
@pytest.mark.parametrize("genre", ["waltz", "it's", 'the "old" $HOME `ls` \\ way!'])
def test_the_command_that_is_printed_works_as_it_is_without_a_model(tmp_path, capsys, name, genre):
    vectors, truth = heaps([20, 12])
    rows = [{"id": f"-s {at}", "genre": [genre, "reel"][one]} for at, one in enumerate(truth.tolist())]
    with Index.create(tmp_path / "my songs.index", 24, "cosine", "a model that is gone") as index:
        index.add(rows, vectors, "audio")
    out = ask(capsys, tmp_path / "my songs.index", "--k", 2, "--output-column", name)
    line = out.splitlines()[-1]
    command = line[line.index("jointembed similar") :]
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True).stdout
    _, *said = words.decode().split("\0")[:-1]
    assert main([*said, "--json"] if "--" not in said else [*said[:-2], "--json", *said[-2:]]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert len(hits) == 10 and {hit["row"]["genre"] for hit in hits} == {genre}


def test_what_is_wrong_is_said_in_one_line(songs, capsys, tmp_path, monkeypatch):
    with Index.create(tmp_path / "empty.index", 3, "cosine"):
        pass
    for words, said in [
        ((songs, "--k", "0"), "from 1 to 180"),
        ((songs, "--k", "181"), "from 1 to 180"),
        ((songs, "--compare-to", "gene"), "did you mean genre"),
        ((songs, "--field", "words"), "no such field"),
        ((songs, "--where", "genre = 'jig'"), "no item meets"),
        ((songs, "--where", "gener = 'reel'"), "genre"),
        ((songs, "--plot", "a.svg"), "a.png"),
        ((songs, "--dry-run", "--output-column", "mood"), "--dry-run"),
        ((tmp_path / "empty.index",), "empty"),
        ((tmp_path / "none.index",), "no such index"),
    ]:
        error = ask(capsys, *words, code=2)
        assert said in error and error.count("\n") == 1 and "Traceback" not in error, error
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "jointembed[map]"' in ask(capsys, songs, "--plot", tmp_path / "a.png", code=2)
