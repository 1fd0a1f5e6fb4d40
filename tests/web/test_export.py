"""The page of an index, as far as it goes without a browser."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import mutagen
import mutagen.id3
import numpy as np
import pytest
from PIL import Image
from web_page import tone

from jointembed.__main__ import main
from jointembed.analyze.layout import compute_layout
from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.web import export
from jointembed.web.media import embed_covers, embed_outlines
from jointembed.web.packed import pack_column

HOSTILE = "</script><script>window.__xss = 1</script><img src=x onerror=alert(1)> <!-- ü 🎈"


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def row(at):
    return {
        "id": f"s{at}", "title": f"Song {at}", "genre": ["waltz", "polka", "reel"][at % 3], "tempo": 90 + 1.5 * at,
        "rooms": at % 4, "live": at % 2 == 0, "tags": [["sad", "slow"], ["fast"], []][at % 3], "facts": {"key": at},
    }  # fmt: skip


@pytest.fixture
def songs(tmp_path):
    rng = np.random.default_rng(0)
    with Index.create(tmp_path / "songs.index", 8, "cosine", note="a note") as index:
        index.add([row(at) for at in range(60)], unit(rng, 60, 8), "audio")
        yield index


class Blocks(HTMLParser):
    """The data blocks of an exported page, its scripts, styles, and the attributes of its elements."""

    def __init__(self, text):
        super().__init__()
        self.data, self.texts, self.attributes, self.inside = {}, {"script": [], "style": []}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag in self.texts:
            self.inside = (tag, dict(attributes).get("data-name"))
            if self.inside[1] is None:
                self.texts[tag].append("")

    def handle_data(self, text):
        if self.inside and self.inside[1]:
            self.data[self.inside[1]] = text
        elif self.inside:
            self.texts[self.inside[0]][-1] += text

    def handle_endtag(self, tag):
        self.inside = None


def exported(index, out, **more):
    export.export(index, out, **more)
    return Blocks(out.read_text("utf-8"))


def unpacked(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_page_info_has_the_kinds_of_columns_and_the_layouts(songs):
    info = export.page_info(songs)
    kinds = {cell["name"]: (cell["kind"], cell["size"]) for cell in info["columns"]}
    assert kinds == {
        "title": ("text", 60), "genre": ("category", 3), "tempo": ("number", 60), "rooms": ("category", 4),
        "live": ("category", 2), "tags": ("category", 3), "facts": ("text", 1),
    }  # fmt: skip
    assert info["axes"][:2] == ["pca2", "pca3"] and info["axes"][-2:] == ["tempo", "rooms"]
    assert (info["name"], info["count"], info["title"], info["note"]) == ("songs", 60, "title", "a note")
    assert json.dumps(info)


def test_page_info_follows_the_index(songs):
    before = export.page_info(songs)
    songs.add(
        [{"id": "new", "mood": "calm"}, {"id": "newer", "mood": "calm"}], np.eye(8, dtype=np.float32)[:2], "audio"
    )
    after = export.page_info(songs)
    assert after["count"] == 62 and after["version"] != before["version"]
    assert {"name": "mood", "kind": "category", "size": 1} in after["columns"]


def test_categories_are_sorted_by_frequency_and_numbers_by_value(tmp_path):
    cells = ["b", "a", "a", None, ["a", "c", "a"], "", ["c"], "a"]
    rows = [{"id": str(at), "kind": cell, "stars": [3, 1, 2][at % 3]} for at, cell in enumerate(cells)]
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        index.add(rows, np.zeros((8, 2), np.float32), "x")
        assert export.column_values(index, "kind") == {
            "kind": "category", "values": ["a", "c", "b"], "codes": [2, 0, 0, -1, [0, 1], -1, 1, 0],
        }  # fmt: skip
        assert export.column_values(index, "stars")["values"] == [1, 2, 3]
        with pytest.raises(UsageError, match="no row has this column"):
            export.column_values(index, "kinds")


def test_category_has_the_same_code_in_every_field(tmp_path):
    rows = [{"id": str(at), "kind": kind} for at, kind in enumerate("aabbbcccc")]
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        index.add(rows, np.zeros((9, 2), np.float32), "x")
        index.add(rows[:5], np.zeros((5, 2), np.float32), "y")
        assert (
            export.column_values(index, "kind")["values"]
            == export.column_values(index, "kind", "y")["values"]
            == ["c", "b", "a"]
        )
        assert export.column_values(index, "kind", "y")["codes"] == [2, 2, 1, 1, 1]
        page = exported(index, tmp_path / "out.html", field="y")
        assert json.loads(page.data["column 0"]) == export.column_values(index, "kind", "y")
        index.update([{**row, "kind": ["few", 7, {"a": 1}][at % 3]} for at, row in enumerate(rows[5:])])
        index.update([{**row, "kind": 5 + at % 2} for at, row in enumerate(rows[:5])])
        few = export.column_values(index, "kind", "y")
        assert [few["values"][code] for code in few["codes"]] == [5, 6, 5, 6, 5]
        index.add([{"id": f"more{at}", "kind": f"kind {at}"} for at in range(200)], np.zeros((200, 2), np.float32), "x")
        assert export.column_values(index, "kind", "y")["values"] == [5, 6]


def unpack(content):
    size = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + size])
    assert (4 + size) % 8 == 0
    return header, content[4 + size :]


@pytest.mark.parametrize(
    "numbers, kind, scale",
    [
        ([1999, None, -3], "int32", 1),
        ([12.34, None, 0.1], "int32", 100),
        ([1 / 3 + at for at in range(3)], "float64", 1),
        ([2.0**-40, 1.5, None], "float32", 1),
        ([3e9, 1e10], "float32", 1),
        ([1e300, 5.0], "float64", 1),
    ],
)
def test_packed_numbers_are_exact(numbers, kind, scale):
    header, content = unpack(pack_column({"kind": "number", "values": numbers}))
    assert (header["type"], header["scale"]) == (kind, scale)
    values = np.frombuffer(content, kind).astype(np.float64)
    values[values == -(2**31)] = np.nan
    np.testing.assert_array_equal(values / scale, np.array(numbers, np.float64))


def test_packed_categories_may_have_several_values():
    column = {"kind": "category", "values": ["a", "b"], "codes": [0, -1, [0, 1]]}
    header, content = unpack(pack_column(column))
    assert header == {"kind": "category", "values": ["a", "b"], "type": "int8", "lists": 3}
    assert np.frombuffer(content[:16], "<u4").tolist() == [0, 1, 1, 3]
    assert np.frombuffer(content[16:], np.int8).tolist() == [0, 0, 1]
    text = {"kind": "text", "values": ["\udce9", None]}
    assert unpack(pack_column(text)) == (text, b"")


def test_odd_cells_become_text_and_ids_stay_whole(tmp_path):
    rows = [
        {"id": "bad\udce9/" + "x" * 900, "odd": {"a": 1}, "big": 10**400, "true": True, "list": [1, [2]]},
        {"id": "b", "odd": "text" * 400, "big": 1, "true": 1, "list": []},
        {"id": "c"},
    ]
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        index.add(rows, np.zeros((3, 2), np.float32), "x")
        odd = export.column_values(index, "odd")
        assert odd["kind"] == "text" and odd["values"][0] == '{"a": 1}' and odd["values"][2] is None
        assert len(odd["values"][1]) == 500
        assert export.column_values(index, "id")["values"] == [each["id"] for each in rows]
        assert "big" not in export.page_info(index)["axes"]
        assert export.column_values(index, "true") == {"kind": "text", "values": ["true", "1", None]}
        json.dumps([export.column_values(index, name) for name in ("odd", "big", "true", "list")], allow_nan=False)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_neighbors_equal_those_of_the_index(tmp_path, metric):
    rng = np.random.default_rng(1)
    vectors = unit(rng, 90, 6)
    vectors[40:50] = vectors[3]  # ties
    with Index.create(tmp_path / "a.index", 6, metric) as index:
        index.add([{"id": str(at)} for at in range(90)], vectors, "x")
        places, scores = export.neighbors(index, 5, rows_per_block=7)
        for at in range(90):
            hits = index.similar(str(at), 5)
            np.testing.assert_allclose(scores[at], [hit.score for hit in hits], atol=1e-5)
            assert places[at].tolist() == [int(hit.id) for hit in hits]


def test_exported_page_holds_layouts_columns_and_neighbors(songs, tmp_path):
    page = exported(songs, tmp_path / "out.html", k=7)
    info = json.loads(page.data["info"])
    assert info["count"] == 60 and info["k"] == 7 and info["start"] == "pca2"
    steps = unpacked(page.data["layout pca2"], "<u2").reshape(60, 2)
    points = compute_layout(songs, "pca2")
    np.testing.assert_allclose(steps / 65534 * 2 - 1, points[:, :2], atol=2e-5)
    assert unpacked(page.data["layout pca3"], "<u2").size == 180
    for at, cell in enumerate(info["columns"]):
        assert json.loads(page.data[f"column {at}"]) == export.column_values(songs, cell["name"])
    assert json.loads(page.data["column id"])["values"] == songs.ids()
    near = unpacked(page.data["neighbors"], "<u4").reshape(60, 7)
    low, high = info["scores"]
    scores = low + unpacked(page.data["scores"], "<u2").reshape(60, 7) / 65535 * (high - low)
    for at in (0, 31, 59):
        hits = songs.similar(f"s{at}", 7)
        assert [f"s{place}" for place in near[at]] == [hit.id for hit in hits]
        np.testing.assert_allclose(scores[at], [hit.score for hit in hits], atol=1e-4)
    assert "links" not in page.data


def test_cells_cannot_break_out_of_the_exported_page(tmp_path):
    rows = [{"id": f"{HOSTILE}{at}", "title": HOSTILE, HOSTILE: HOSTILE, "half": "\udcff" + HOSTILE} for at in range(9)]
    with Index.create(tmp_path / "a.index", 2, "euclidean", note=HOSTILE) as index:
        index.add(rows, np.zeros((9, 2), np.float32), "x")
        page = exported(index, tmp_path / "out.html")
    assert len(page.texts["script"]) == 1
    assert json.loads(page.data["column id"])["values"] == [each["id"] for each in rows]
    assert {"onerror", "src"}.isdisjoint(name for name, _ in page.attributes)


def test_exported_page_allows_only_its_own_script_and_style(songs, tmp_path):
    page = exported(songs, tmp_path / "out.html")
    [policy] = [value for _, value in page.attributes if value and value.startswith("default-src")]
    assert policy.startswith("default-src 'none';")
    for tag in ("script", "style"):
        [text] = page.texts[tag]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert not [name for name, _ in page.attributes if name == "style" or name.startswith("on")]
    addresses = [value for name, value in page.attributes if name in ("href", "src") and not value.startswith("#")]
    assert all(value.startswith("data:image/svg+xml,") for value in addresses)
    data = sum(map(len, page.data.values()))
    assert (tmp_path / "out.html").stat().st_size - data < 270_000


def test_page_names_no_other_host_and_has_no_inline_code():
    for path in export.STATIC.iterdir():
        assert set(re.findall(r"https?://[^\"' )]+", path.read_text())) <= {"http://www.w3.org/2000/svg"}
    html = (export.STATIC / "index.html").read_text()
    assert " style=" not in html and not re.search(r"\son\w+=", html) and html.count("<script") == 1


def test_bundle_has_every_module_once_and_no_import():
    script = export.bundle()
    workers = {"peaks.js", "peaks_worker.js"}  # which a page from disk cannot start
    for path in (path for path in export.STATIC.glob("*.js") if path.name not in workers):
        assert script.count(path.read_text().splitlines()[1]) == 1, path  # the comment that says what the module is
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names))  # a second function of the same name would replace the first one


def test_text_colours_have_enough_contrast():
    style = (export.STATIC / "page.css").read_text()

    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        parts = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return np.dot(parts, [0.2126, 0.7152, 0.0722])

    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part)) for part in style.split("data-theme")[:2]]
    for colours in themes:
        for text in ("ink", "quiet", "accent"):
            for ground in ("paper", "sheet", "raised", "soft", "tint"):
                low, high = sorted([light(colours[text]), light(colours[ground])])
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_sounds_are_linked_relative_to_the_page_and_inside_the_folder(tmp_path):
    music = tmp_path / "music folder"
    music.mkdir()
    (music / "a #1?.wav").write_bytes(b"RIFF")
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    cells = ["a #1?.wav", "../secret.wav", "none.wav", 5, None, "x" * 3000, "a\0b"]
    rows = [{"id": str(at) if cell else "a #1?.wav", "audio": cell} for at, cell in enumerate(cells)]
    rows[4] |= {"start": 1.5, "seconds": 2}  # a track of the file
    with Index.create(tmp_path / "a.index", 2, "euclidean") as index:
        index.add(rows, np.zeros((7, 2), np.float32), "audio")
        page = exported(index, tmp_path / "pages" / "out.html", root=music)
        link = "./../music%20folder/a%20%231%3F.wav"
        assert json.loads(page.data["links"]) == [link, "", "", "", link + "#t=1.500,3.500", "", ""]
        with pytest.raises(UsageError, match="does not exist"):
            export.export(index, tmp_path / "out.html", root=tmp_path / "nowhere")


def test_covers_are_small_and_each_once_and_within_their_bound(tmp_path):
    for at in range(6):
        picture = io.BytesIO()
        Image.new("RGB", (500, 400), (40 * (at // 2), 0, 90)).save(picture, "PNG")
        (tmp_path / f"{at}.wav").write_bytes(tone(0.6))
        sound = mutagen.File(tmp_path / f"{at}.wav")
        sound.add_tags()
        content = picture.getvalue() if at < 5 else b"\x89PNG\r\n\x1a\n broken"
        sound.tags.add(mutagen.id3.APIC(mime="image/png", type=3, data=content))
        sound.save()
    paths = [tmp_path / f"{at}.wav" for at in range(6)]
    covers = embed_covers([*paths, None, paths[0]], 1_000_000)
    assert covers["of"] == [0, 0, 1, 1, 2, -1, -1, 0] and len(covers["values"]) == 3
    kind, _, content = covers["values"][0].partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (96, 77)
    few = embed_covers(paths, len(covers["values"][0]) + len(covers["values"][1]) + 1)
    assert few["of"] == [0, 0, 1, 1, -1, -1]
    outlines = embed_outlines([paths[0], None, tmp_path / "none.wav"])
    assert outlines["of"] == [0, -1, -1]
    peaks = np.frombuffer(base64.b64decode(outlines["values"][0]), np.uint8)
    assert len(peaks) == 300 and peaks.max() == 255 and peaks.min() > 0


def test_one_row_without_columns_has_a_page(tmp_path):
    with Index.create(tmp_path / "a.index", 3, "cosine") as index:
        with pytest.raises(UsageError, match="empty"):
            export.export(index, tmp_path / "out.html")
        assert export.page_info(index)["count"] == 0
        index.add([{"id": "a"}], np.eye(3, dtype=np.float32)[:1], "x")
        page = exported(index, tmp_path / "out.html")
        assert "neighbors" not in page.data and json.loads(page.data["info"])["k"] == 0


def test_second_field_has_its_own_page(songs, tmp_path):
    songs.add([row(at) for at in range(10)], unit(np.random.default_rng(5), 10, 8), "score")
    page = exported(songs, tmp_path / "out.html", field="score")
    assert json.loads(page.data["info"])["count"] == 10
    assert unpacked(page.data["neighbors"], "<u4").tolist()[:3] == [
        int(hit.id[1:]) for hit in songs.similar("s0", 3, field="score")
    ]
    with pytest.raises(UsageError, match="no such field"):
        export.export(songs, tmp_path / "out.html", field="scores")


def test_page_info_is_of_the_field(songs):
    songs.add_field("tags", 3, "euclidean", "other", "f2", "by tags")
    songs.add([row(at) for at in range(10)], np.random.default_rng(5).random((10, 3), np.float32), "tags")
    info = export.page_info(songs, "tags")
    assert (info["field"], info["count"], info["rows"]) == ("tags", 10, 60)
    assert (info["dim"], info["metric"], info["note"]) == (3, "euclidean", "by tags")
    info = export.page_info(songs)
    assert (info["field"], info["dim"], info["metric"], info["note"]) == ("audio", 8, "cosine", "a note")
    for read in (export.page_info, lambda index, column: export.column_values(index, "id", column)):
        with pytest.raises(UsageError, match="no such field"):
            read(songs, "moods")


def test_page_command_writes_the_page_or_reports_why_not(songs, tmp_path, capsys):
    out = tmp_path / "songs.html"
    assert main(["page", str(songs.path), str(out), "-k", "3", "--map", "tempo,rooms"]) == 0
    assert "60 items" in capsys.readouterr().out
    assert json.loads(Blocks(out.read_text("utf-8")).data["info"])["start"] == "tempo,rooms"
    for words in (
        [str(tmp_path / "no.index"), str(out)], [str(songs.path), str(songs.path)], [str(songs.path), "."],
        [str(songs.path), str(tmp_path)],
        [str(songs.path), str(out), "--k", "0"], [str(songs.path), str(out), "--map", "pca9"],
    ):  # fmt: skip
        assert main(["page", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "Fix:" in error
    Index.open(songs.path).close()


def test_nearest_terms_are_in_the_exported_page(tmp_path):
    with Index.create(tmp_path / "a.index", 3, "cosine") as index:
        index.add([{"id": str(at)} for at in range(3)], np.eye(3, dtype=np.float32), "audio")
        index.set_vocabulary(["waltz", "reel", "jig", "</script>"], np.eye(3, dtype=np.float32)[[0, 1, 2, 2]], "audio")
        export.export(index, tmp_path / "a.html")
    content = (tmp_path / "a.html").read_text()
    terms = json.loads(re.search(r'data-name="terms">(.*?)</script>', content)[1])
    assert [terms["values"][row[0]] for row in terms["near"][:2]] == ["waltz", "reel"]
    assert {terms["values"][at] for at in terms["near"][2][:2]} == {"jig", "</script>"}
