"""Every recipe runs: fit, index, similar, search, on a small table of the columns that it needs."""

import json

import numpy as np
import pyarrow
import pytest
import soundfile
import yaml
from PIL import Image
from pyarrow import parquet

from jointembed import BagOfWords, Category, ConvNet, EmbeddingBag, Index, LogMel, Space, recipe_tools
from jointembed.__main__ import main
from jointembed.cli.recipes import names, packaged_folder

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

COUNT = 12
SPLITS = ["train"] * 8 + ["dev"] * 2 + ["test"] * 2
rng = np.random.default_rng(0)


def write_sound(folder, number, rate):
    name = f"{number}.wav"
    soundfile.write(folder / name, rng.normal(0, 0.1, rate // 4 * (1 + number % 3)), rate)
    return name


def write_image(folder, number, shape):
    name = f"{number}.png"
    Image.fromarray((rng.random(shape) > 0.8).astype(np.uint8) * 255).save(folder / name)
    return name


def mnist(folder):
    """Rows of a recipe's table, and a query that its model answers: the column and the cell."""
    rows = [
        {"bitmap": (rng.random(784) * 255 * (rng.random(784) > 0.8)).astype(int).tolist(), "digit": str(n % 3)}
        for n in range(COUNT)
    ]
    return rows, ("digit", "1")


def bitmap(folder):
    rows, _ = mnist(folder)
    return rows, ("bitmap", str(folder / write_image(folder, 99, (28, 28))))


def digits(folder):
    rows = []
    for number in range(COUNT):
        row = {"digit": str(number % 3)}
        if number % 3 == 0:
            row |= {"bitmap": mnist(folder)[0][0]["bitmap"]}
        elif number % 3 == 1:
            row |= {"speech": write_sound(folder, number, 8000), "speaker": "ab"[number % 2]}
        else:
            row |= {"word": ["one", "zwei", "trois"][number // 3 % 3], "language": "en"}
        if number in (0, 1, 8, 9):
            row |= {"speech": write_sound(folder, number, 8000)}
        rows.append(row)
    return rows, ("word", "zwei")


def sounds(folder):
    kinds = ["dog", "rain", "crackling fire"]
    return [
        {"audio": write_sound(folder, n, 22050), "caption": f"the sound of {kinds[n % 3]}", "category": kinds[n % 3]}
        for n in range(COUNT)
    ], ("caption", "the sound of rain")


def songs(folder):
    rows = []
    for number in range(COUNT):
        row = {"audio": write_sound(folder, number, 16000), "piano_roll": write_image(folder, number, (88, 128)),
               "caption": ["a slow tune", "in A minor"] if number % 2 else "a fast tune", "genre": "xyz"[number % 3],
               "artist": f"p{number % 4}"}  # fmt: skip
        row.pop({5: "audio", 6: "piano_roll", 7: "caption"}.get(number, ""), None)
        rows.append(row)
    return rows, ("caption", "a slow tune")


def strokes(folder):
    return [
        {"audio": write_sound(folder, n, 22050), "stroke": ["cha", "thom", "num"][n % 3], "tonic": "bc"[n % 2]}
        for n in range(COUNT)
    ], ("stroke", "thom")


HOME = packaged_folder()
FEATURES = (HOME / "genres" / "features.yaml").read_text()


def genres(folder):
    reader = yaml.safe_load(FEATURES)["model"]["encoders"]["features"]["init_args"]["reader"]
    rows = []
    for number in range(COUNT):
        numbers = {column: rng.normal() for column in reader["init_args"]["columns"]}
        row = {"genre": "xyz"[number % 3], "caption": "a slow song", "audio": write_sound(folder, number, 22050)}
        rows.append({**row, **numbers, "features": numbers})
    return rows, ("genre", "x")


def captions(folder):
    return genres(folder)[0], ("caption", "slow")


def languages(folder):
    words = [("a dog runs", "ein Hund rennt", "un chien court"), ("two men sit", "zwei Männer sitzen", "deux hommes")]
    return [dict(zip(("en", "de", "fr"), words[n % 2], strict=True)) for n in range(COUNT)], ("de", "ein Hund")


def films(folder):
    rows = [{"history": [f"f{(n + step) % 5}" for step in range(6)], "film": f"f{n % 5}"} for n in range(COUNT)]
    return rows + [{"split": "films", "film": f"f{n}"} for n in range(5)], ("history", '["f1", "f2"]')


def stars(folder):
    facts = dict.fromkeys(("user_mean", "user_count", "film_mean", "film_count", "near_films", "near_users"), 0.5)
    return [
        {"user": f"u{n % 3}", "film": f"f{n % 4}", "stars": n % 5, "genres": ["Drama"], "occupation": "artist",
         "age": 30 + n, "year": 1990, **facts}
        for n in range(COUNT)
    ], ("pair", '{"user": "u1", "film": "f2"}')  # fmt: skip


def liked(folder):
    rows = [{"history": [f"f{(n + step) % 5}" for step in range(3)], "film": [f"f{(n + 3) % 5}"]} for n in range(COUNT)]
    return rows + [{"split": "films", "film": [f"f{n}"]} for n in range(5)], ("history", '["f1", "f2"]')


def unseen(folder):
    rows = []
    for n in range(COUNT):
        about = {"title": f"Story {n % 2}", "genres": ["Drama"], "year": f"19{n + 50}"}
        viewed = {"history": [f"f{n % 3}", f"f{n % 4}"], "titles": ["Story 1"], "kinds": ["Drama"], "years": ["1990"]}
        late = {"viewer": viewed, "item": [about]} if SPLITS[n] != "train" else {}
        rows.append({**viewed, "film": f"f{n % 5}", **about, **late})
    return rows, ("viewer", '{"history": ["f1", "f2"], "kinds": ["Drama"]}')


FILMS = {"movies/likes": liked, "movies/axes": liked, "movies/cold_start": unseen}


def homes(folder):
    encoders_of = [yaml.safe_load(path.read_text())["model"]["encoders"] for path in (HOME / "homes").glob("*.yaml")]
    readers = [
        encoder["init_args"]["reader"].get("init_args", {}) for encoders in encoders_of for encoder in encoders.values()
    ]
    numbers = {column for reader in readers for column in reader.get("columns", [])}
    return [
        {**{column: rng.normal() for column in numbers}, "words": "a sunny room " * 3, "amenities": ["Wifi"] * 30,
         "kinds": ["room_type=Entire home"], "price": rng.normal(200, 9), "log_price": rng.normal(5, 1)}
        for _ in range(COUNT)
    ], ("home", '{"kinds": ["room_type=Entire home"]}')  # fmt: skip


def products(folder):
    rows = []
    for number in range(COUNT):
        row = {"text": "a red mug", "image": write_image(folder, number, (48, 48, 3)), "category": "xyz"[number % 3],
               "audio": write_sound(folder, number, 16000), "price": 10.0 + number}  # fmt: skip
        row.pop({5: "audio", 6: "image", 7: "text"}.get(number, ""), None)
        rows.append(row)
    return rows, ("text", "red mug")


def reuse(folder):
    return [
        {"speech": write_sound(folder, n, 8000), "digit": "012"[n % 3], "speaker": "ab"[n % 2]} for n in range(COUNT)
    ], ("digit", "1")


TABLES = {"mnist/deep3d": mnist, "mnist/bitmap3d": bitmap, "digits": digits, "sounds": sounds, "songs": songs}
TABLES |= {"products": products, "reuse": reuse, "strokes": strokes, "genres": genres, "genres/captions": captions}


def listeners(folder):
    rows = [{"heard": [f"a{n % 3}", f"a{n % 4}"], "artist": [f"a{n % 5}"]} for n in range(COUNT)]
    tags = [{"split": "train", "artist": f"a{n}", "tags": ["metal", "chanson"[: 4 + n % 2 * 3]]} for n in range(5)]
    return rows + tags + [{"split": "artists", "artist": f"a{n}"} for n in range(5)], ("heard", '["a1", "a2"]')


TABLES |= {
    "artists": listeners,
    "languages": languages,
    "movies/next": films,
    "movies/set": films,
    "movies/rating": stars,
    "homes": homes,
}


def chorales(folder):
    rows = [{"frames": [[60 + n % 3, 64, 67], [], [62, 65 + n % 2]] * 3} for n in range(COUNT)]
    return rows, ("frames", "[[60], []]")


def tunes(folder):
    rows = [{"notes": ["start 24 0", "+2 12 24", f"-{n % 2} 12 36"] * 4, "type": "reel"} for n in range(COUNT)]
    return rows, ("notes", '["start 24 0", "+2 12 24"]')


def next_notes(folder):
    return [
        {"audio": write_sound(folder, n, 16000), "next": "DEG"[n % 3], "last": "DA"[n % 2]} for n in range(COUNT)
    ], (
        "next",
        "G",
    )


TABLES |= {"notes/chorales": chorales, "notes/tunes": tunes, "notes/audio_next": next_notes}


def catalogue(folder):
    items = {"item": [1, 2, 3, 4, 5], "category": list("abaab"), "price": [2.5, 9.0, None, 4.0, 1.0]}
    parquet.write_table(pyarrow.table(items), folder / "items.parquet")
    return [{"history": [1 + n % 3, 1 + n % 4], "item": 1 + n % 5} for n in range(COUNT)], ("history", "[1, 2]")


TABLES |= {"catalogue": catalogue}


def words(folder):
    space = Space(8, {"text": EmbeddingBag(BagOfWords())})
    space.reader("text").fit(["sad slow", "piano", "happy loud", "drums"])
    space.build()
    space.save(folder / "minilm.ckpt")
    captions = [["a sad song", "slow piano", "a sad song, slow piano"], ["loud drums", "loud drums"]]
    return [{"caption": captions[n % 2], "tags": [["sad", "piano"], ["drums"]][n % 2]} for n in range(COUNT)], (
        "tags",
        "piano",
    )


def library(folder):
    encoder = ConvNet(LogMel(8000, 0.5, 16, 256, 128), channels=[4], width=8)
    space = Space(6, {"audio": encoder, "tag": EmbeddingBag(Category())})
    space.reader("tag").fit(["sad", "happy"])
    space.build()
    space.save(folder / "music.ckpt")
    rows = []
    for number in range(COUNT):
        groups = [f"artist: {number % 4}", f"playlist: {number % 3}"][: number % 3]
        row = {"audio": write_sound(folder, number, 8000), "title": str(number)}
        rows.append(row | ({"groups": groups} if groups else {}))
    return rows, ("groups", "artist: 1")


TABLES |= {"music/words": words, "music/library": library}
TABLES |= FILMS
RECIPES = [name for name in names() if "/" in name]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_from_fit_to_search(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the checkpoint is that a recipe may begin from
    make = TABLES.get(name) or TABLES.get(name.partition("/")[0])
    assert make, f"write a table for {name} in this file"
    rows, (column, cell) = make(tmp_path)
    rows = [{"id": f"r{number}", "split": SPLITS[number % COUNT], **row} for number, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def ask(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out) if "--json" in words else out

    run, index = tmp_path / "run", tmp_path / "all.index"
    ask("fit", "-c", name, "-c", "tiny", "--data.table", tmp_path, "--trainer.default_root_dir", run)
    assert (run / "last.ckpt").is_file() and (run / "best.ckpt").is_file()
    ask("index", run, tmp_path, index)
    with Index.open(index) as opened:
        ids = opened.ids()
        assert len(ids) > 2
    hits = ask("similar", index, ids[0], "-k", "3", "--json")
    assert len(hits) == min(3, len(ids) - 1) and ids[0] not in [hit["id"] for hit in hits]
    assert all(np.isfinite(hit["score"]) for hit in hits)
    hits = ask("search", index, cell, "--column", column, "-k", "3", "--json")
    model = Space.load(run)
    with Index.open(index) as opened:
        expected = [
            hit.id for hit in opened.search(model.embed(column, [json.loads(cell) if cell[0] in "[{" else cell])[0], 3)
        ]
    assert [hit["id"] for hit in hits] == expected and len(hits) == 3


@pytest.mark.parametrize("name", names())
def test_a_recipe_says_in_its_first_line_what_it_is(name):
    first, second, *_ = (packaged_folder() / f"{name}.yaml").read_text().splitlines()
    assert first.startswith("# ") and first.endswith(".") and len(first) > 20
    assert second and not second.startswith("#"), "one line, which is what the list shows"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_complete_and_keeps_to_itself(name):
    recipe = yaml.safe_load((packaged_folder() / f"{name}.yaml").read_text())
    assert set(recipe) == {"model", "data", "trainer"}
    assert "table" not in recipe["data"], "the table is given on the command line"
    assert recipe["trainer"]["default_root_dir"] == "runs/" + name.replace("/", "-")
    savers = [call for call in recipe["trainer"].get("callbacks", []) if call["class_path"].endswith("BestAndLast")]
    assert "test" not in str(savers) + str(recipe["data"]), "rows that are reported on choose nothing"


def test_the_list_names_every_recipe_and_what_it_is(capsys):
    assert main(["recipes"]) == 0
    _, _, *lines = capsys.readouterr().out.splitlines()  # after the head of the table
    assert [line.split()[0] for line in lines] == names() and "mnist/deep3d" in names() and "tiny" in names()
    for line in lines:
        name, about = line.split(None, 1)
        assert (packaged_folder() / f"{name}.yaml").read_text().startswith(f"# {about}\n")


@pytest.mark.parametrize("name", names())
def test_a_recipe_is_printed_byte_for_byte(name, capsysbinary):
    assert main(["recipes", name]) == 0
    assert capsysbinary.readouterr().out == (packaged_folder() / f"{name}.yaml").read_bytes()


@pytest.mark.parametrize("name", sorted({name.partition("/")[0] for name in names() if "/" in name}))
def test_scripts_of_a_copied_recipe_run(name, tmp_path, capsys):
    assert main(["recipes", "copy", name, str(tmp_path)]) == 0
    copied = capsys.readouterr().out.splitlines()
    assert str(tmp_path / name / "prepare.py") in copied and any(path.endswith(".yaml") for path in copied)
    module = recipe_tools.load_script(tmp_path / name / "prepare.py")  # which imports the scripts that it uses
    assert callable(module.main)


def test_a_recipe_is_copied_alone_and_nothing_is_overwritten(tmp_path, capsys):
    assert main(["recipes", "copy", "movies/likes", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.rglob("*.yaml")] == ["likes.yaml"]
    (tmp_path / "movies" / "likes.yaml").write_text("mine")
    assert main(["recipes", "copy", "movies/likes", str(tmp_path)]) == 2
    assert "there already" in capsys.readouterr().err and (tmp_path / "movies" / "likes.yaml").read_text() == "mine"
    assert main(["recipes", "copy", "tiny", str(tmp_path)]) == 0 and (tmp_path / "tiny.yaml").is_file()


@pytest.mark.parametrize(("words", "line"), [
    (["copy", "songs/join", "x"], "did you mean songs/joint?"),
    (["copy", "songs"], "a recipe and a folder are needed"),
    (["songs/joint", "x"], "x: unexpected argument"),
])  # fmt: skip
def test_a_wrong_copy_of_a_recipe_is_one_line(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["recipes", *words]) == 2
    assert line in capsys.readouterr().err and not list(tmp_path.iterdir())
