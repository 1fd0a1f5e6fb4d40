"""Clusters of an index: their agreement with a column, the column that stores them, and `jointembed cluster`."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jointembed.__main__ import main
from jointembed.analyze.cluster import agreement, carry_over, cluster, medoids, pca
from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.index.selection import iter_rows, select

GENRES = ["waltz", "polka", "reel", "tango"]


def blobs(sizes, dim=24, spread=0.05, seed=0):
    """Unit vectors about distant centers, shuffled, and the center of each."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((len(sizes), dim))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = centers[truth] + spread * rng.standard_normal((len(truth), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


@pytest.fixture
def songs(tmp_path):
    vectors, truth = blobs([60, 50, 40, 30])
    rng = np.random.default_rng(1)
    rows = []
    for at, label in enumerate(truth.tolist()):
        rows.append({
            "id": f"s{at}", "title": f"Song {at}", "genre": GENRES[label], "_file": f"rock/{at}.wav",
            "tempo": 90 + 30 * label + int(rng.integers(9)),
            "tags": [["slow", "fast"][label % 2], ["sad", "live"][at % 2]],
            "caption": [f"{['a', 'one', 'the'][at % 3]} tune number {at} that {['floats', 'hops'][label // 2]} along"],
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
def test_separate_clusters_are_found_and_numbered_by_size(k):
    vectors, truth = blobs([60, 50, 40, 30])
    clusters = cluster(vectors, k)
    assert (clusters.labels == truth).all() and len(clusters) == 4
    assert ("k-means" in clusters.method) == (k is not None)


def test_most_items_between_clusters_are_in_no_cluster():
    vectors, truth = blobs([100, 80])
    stray = np.random.default_rng(5).standard_normal((12, 24)).astype(np.float32)
    stray /= np.linalg.norm(stray, axis=1, keepdims=True)
    clusters = cluster(np.concatenate([vectors, stray]))
    assert (clusters.labels[:180] == truth).all() and (clusters.labels[180:] == -1).mean() > 0.5


def test_sample_of_many_items_forms_clusters_and_the_others_follow():
    vectors, truth = blobs([300, 200, 100])
    clusters = cluster(vectors, hdbscan_max_items=150)
    assert (clusters.labels == truth).all() and "of 150 items" in clusters.method


def test_kmeans_is_used_where_no_region_is_dense():
    rng = np.random.default_rng(0)
    clusters = cluster(rng.standard_normal((300, 8)).astype(np.float32))
    assert "k-means" in clusters.method and "few items lie in dense regions" in clusters.method
    assert len(clusters) >= 2 and clusters.labels.min() == 0


@pytest.mark.parametrize("count", [1, 2, 4, 60])
@pytest.mark.parametrize("k", [None, 1])
def test_few_or_equal_items_are_one_cluster(count, k):
    clusters = cluster(np.full((count, 5), 0.5, np.float32), k)
    assert (clusters.labels == 0).all() and len(clusters) == 1
    assert pca(np.full((count, 5), 0.5, np.float32), 2)[0].shape == (count, 2)


def test_empty_clusters_are_not_reported():
    vectors = np.repeat(np.eye(3, dtype=np.float32), [5, 4, 3], axis=0)
    clusters = cluster(vectors, 6)
    assert clusters.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 3 and "only 3 of 6 clusters" in clusters.method


def test_small_batches_find_the_same_clusters():
    vectors, truth = blobs([60, 50, 40, 30])
    clusters = cluster(vectors, 4, minibatch_min_work=100)
    assert (clusters.labels == truth).all() and "small batches" in clusters.method


@pytest.mark.parametrize("k", [0, -1, 13])
def test_number_of_clusters_must_be_between_1_and_n(k):
    with pytest.raises(UsageError, match="between 1 and 12"):
        cluster(np.eye(12, dtype=np.float32), k)


@pytest.mark.slow
def test_clusters_are_the_same_in_another_process():
    script = (
        "import sys, zlib, numpy as np; from jointembed.analyze.cluster import cluster;"
        "v = np.random.default_rng(0).standard_normal((400, 12)).astype(np.float32);"
        "print(zlib.crc32(cluster(v, 7).labels.tobytes()), zlib.crc32(cluster(v).labels.tobytes()))"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout.split()) == 2


def test_medoid_is_the_item_nearest_to_the_mean():
    vectors, truth = blobs([60, 50, 40])
    for label, position in enumerate(medoids(vectors, truth)):
        inside = vectors[truth == label].astype(np.float64)
        least = np.linalg.norm(inside - inside.mean(0), axis=1).min()
        assert truth[position] == label
        assert np.isclose(np.linalg.norm(vectors[position] - inside.mean(0)), least)


def test_cluster_command_shows_nearest_terms_of_the_vocabulary(songs, capsys):
    with Index.open(songs) as index:
        ids, vectors = index.vectors()
        genres = [row["genre"] for row in iter_rows(index, ids)]
        means = np.stack([vectors[[name == genre for name in genres]].mean(0) for genre in GENRES])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        index.set_vocabulary(["ballroom", "hop", "fiddle", "dance"], means, "audio")
    clusters = json.loads(ask(capsys, songs, "--json"))["clusters"]
    assert [cluster["terms"] for cluster in clusters] == [["ballroom"], ["hop"], ["fiddle"], ["dance"]]
    assert "nearest words" in ask(capsys, songs) and "fiddle" in ask(capsys, songs)
    assert [cluster["name"] for cluster in clusters[:2]] == ["1 waltz, slow", "2 polka, fast"], "most of them have both"


def test_agreement_is_1_for_the_truth_and_at_chance_for_a_shuffle():
    truth = np.repeat([0, 1, 2, 3], [60, 50, 40, 30])
    cells = [GENRES[label] for label in truth]
    whole = agreement(truth, cells)
    assert whole["items"] == 180 and whole["values"] == 4
    assert all(metric["value"] == pytest.approx(1) for metric in whole["metrics"].values())
    shuffled = agreement(np.random.default_rng(0).permutation(truth), cells)["metrics"]
    for name, metric in shuffled.items():
        assert abs(metric["value"] - metric["chance"]) < 0.1, name
    assert shuffled["purity"]["chance"] > 0.3 and abs(shuffled["ami"]["chance"]) < 0.02


def test_agreement_counts_items_in_no_cluster_but_not_items_without_a_cell():
    cells = ["a"] * 4 + ["b"] * 4 + [None, None]
    labels = np.array([0, 0, 0, 0, -1, -1, -1, 0, 0, 0])
    report = agreement(labels, cells)
    assert report["items"] == 8 and report["metrics"]["purity"]["value"] == pytest.approx(7 / 8)
    lists = agreement(np.array([0, 0, 1, 1]), [["a", "b"], ["a"], ["b"], []])
    assert lists["items"] == 3 and lists["metrics"]["purity"]["value"] == pytest.approx(3 / 4)
    with pytest.raises(UsageError, match="no item has a cell"):
        agreement(labels, [None] * 10)


def test_clusters_are_stored_as_a_column_for_conditions(songs, capsys):
    before = Index.open(songs).vectors()[1].copy()
    out = ask(capsys, songs, "--output-column", "cluster", "--compare-to", "genre")
    assert "1 waltz" in out and "v_measure" in out and "cluster = '1 waltz" in out
    with Index.open(songs) as index:
        name = index.row(index.similar("s0")[0].id)["cluster"]
        hits = index.search(before[0], 200, where=f"cluster = '{name}'")
        assert len({hit.row["genre"] for hit in hits}) == 1 and 30 <= len(hits) <= 60
        assert (index.vectors()[1] == before).all()
        assert index.resolve("rock/7.wav") == "s7", "its files are still known"
        generation = index.info.generation
    ask(capsys, songs, "--k", "2", "--output-column", "cluster", "--where", "genre in ('waltz', 'reel')")
    with Index.open(songs) as index:
        assert index.info.generation == generation + 1, "one transaction"
        rows = select(index).rows
        assert all(("cluster" in row) == (row["genre"] in ("waltz", "reel")) for row in rows)
        assert len({row.get("cluster") for row in rows}) == 3
    again = json.loads(ask(capsys, songs, "--k", "2", "--json"))["clusters"]
    columns = {trait["column"] for cluster in again for trait in cluster["traits"]}
    assert "genre" in columns and "cluster" not in columns, "clusters are not named by older clusters"


def test_clusters_are_carried_over_to_replaced_rows(songs, capsys):
    ask(capsys, songs)
    with Index.open(songs) as index:
        row = index.row("s3")
        again, new = carry_over(index, [{"id": "s3", "genre": "other"}, {"id": "new", "genre": "reel"}])
        assert again == {"cluster": row["cluster"], "id": "s3", "genre": "other"} and new == {
            "id": "new",
            "genre": "reel",
        }
        assert carry_over(index, [{"id": "s3", "cluster": "by hand"}]) == [{"id": "s3", "cluster": "by hand"}]


def test_column_of_the_rows_is_not_overwritten(songs, capsys):
    before = Index.open(songs).row("s3")
    for name in ("genre", "tempo", "tags"):
        assert "already have a column of this name" in ask(capsys, songs, "--output-column", name, code=2)
    for name in ("id", "_file", 'a"b', " ", "a\\b"):
        assert "cannot have this name" in ask(capsys, songs, "--output-column", name, code=2)
    assert Index.open(songs).row("s3") == before
    ask(capsys, songs, "--output-column", "group")
    with Index.open(songs) as index:  # the data come with such a column later
        index.update([{**index.row("s3"), "group": "by hand"}])
    assert "already have a column" in ask(capsys, songs, "--output-column", "group", code=2)
    assert Index.open(songs).row("s3")["group"] == "by hand"


def test_dry_run_writes_nothing(songs, capsys):
    content = songs.read_bytes()
    report = json.loads(ask(capsys, songs, "--json", "--compare-to", "genre", "--dry-run"))
    assert songs.read_bytes() == content
    assert [cluster["items"] for cluster in report["clusters"]] == [60, 50, 40, 30] and report["in no cluster"] == 0
    assert report["against"]["metrics"]["ami"]["value"] == pytest.approx(1)
    with Index.open(songs) as index:
        assert index.row(report["clusters"][0]["medoid"])["genre"] == "waltz"


def test_table_fits_the_terminal(songs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    out = ask(capsys, songs, "--compare-to", "tags", "--dry-run")
    assert max(map(len, out.splitlines())) <= 80
    assert "compared to tags: 180 items with one of 4 values" in out and "chance" in out and "Song " in out


@pytest.mark.parametrize("k", [3, 20, 90])
def test_plot_shows_clusters_in_colour_and_is_reproducible(songs, capsys, tmp_path, k):
    ask(capsys, songs, "--k", k, "--plot", tmp_path / "a.png")
    ask(capsys, songs, "--k", k, "--plot", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG" and min(image.size) >= 1000
        colours = {colour for count, colour in image.convert("RGB").getcolors(1 << 24) if count > 50}
    palette = {(0, 114, 178), (230, 159, 0), (0, 158, 115)}
    assert palette <= colours, "the legend has them in full"


def test_cells_of_every_kind_are_accepted(tmp_path, capsys):
    vectors, truth = blobs([30, 20])
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
    rows = [{"id": f"{at}\n\udce9'\"", "odd": odd[at % len(odd)], 'a"b\\$': odd[label], "genre": genres[label]}
            for at, label in enumerate(truth.tolist())]  # fmt: skip
    with Index.create(tmp_path / "odd.index", 24, "cosine") as index:
        index.add(rows, vectors, "x")
    for more in ((), ("--json",), ("--compare-to", "odd"), ("--plot", tmp_path / "odd.png")):
        assert "日本" in ask(capsys, tmp_path / "odd.index", *more)
    with Index.open(tmp_path / "odd.index") as index:
        stored = [index.row(id) for id in index.ids()]
    assert {row["cluster"] for row in stored} == {"1 日本", "2 <b>$x_1$"}
    assert [{name: cell for name, cell in row.items() if name != "cluster"} for row in stored] == rows


@pytest.mark.parametrize("name", ["cluster", "in", "mood of it"])
@pytest.mark.parametrize("genre", ["waltz", "it's", 'the "old" $HOME `ls` \\ way!'])
def test_printed_command_works_in_a_shell_without_a_model(tmp_path, capsys, name, genre):
    vectors, truth = blobs([20, 12])
    rows = [{"id": f"-s {at}", "genre": [genre, "reel"][label]} for at, label in enumerate(truth.tolist())]
    with Index.create(tmp_path / "my songs.index", 24, "cosine", "a model that is gone") as index:
        index.add(rows, vectors, "audio")
    out = ask(capsys, tmp_path / "my songs.index", "--k", 2, "--output-column", name)
    line = out.splitlines()[-1]
    command = line[line.index("jointembed similar") :]
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True).stdout
    _, *arguments = words.decode().split("\0")[:-1]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    assert main([*arguments[:end], "--json", *arguments[end:]]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert len(hits) == 10 and {hit["row"]["genre"] for hit in hits} == {genre}


def test_errors_are_one_line(songs, capsys, tmp_path, monkeypatch):
    with Index.create(tmp_path / "empty.index", 3, "cosine"):
        pass
    for words, message in [
        ((songs, "--k", "0"), "between 1 and 180"),
        ((songs, "--k", "181"), "between 1 and 180"),
        ((songs, "--compare-to", "gene"), "did you mean genre"),
        ((songs, "--field", "words"), "no such field"),
        ((songs, "--where", "genre = 'jig'"), "no item meets"),
        ((songs, "--where", "gener = 'reel'"), "genre"),
        ((songs, "--plot", "a.svg"), "a.png"),
        ((songs, "--dry-run", "--output-column", "mood"), "--dry-run"),
        ((tmp_path / "empty.index",), "empty"),
        ((tmp_path / "none.index",), "index not found"),
    ]:
        error = ask(capsys, *words, code=2)
        assert message in error and error.count("\n") == 1 and "Traceback" not in error, error
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "jointembed[map]"' in ask(capsys, songs, "--plot", tmp_path / "a.png", code=2)
