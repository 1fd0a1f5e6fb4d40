"""A .csv file is read as it is written: with any common encoding, delimiter, quotes and line breaks."""

import csv
import io

import pytest

from jointembed.__main__ import main
from jointembed.data.csv_dialect import detect
from jointembed.data.rows import Rows
from jointembed.data.trained import open_as_trained
from jointembed.errors import DamagedError, UsageError

ROWS = [
    {"id": "007", "title": "Café Zoë", "words": 'slow, "sad"; very', "price": "3.5"},
    {"id": "b", "title": "Größe\tXL", "words": "two\nlines, here", "price": "12"},
    {"id": "c", "title": "Señor | Niño", "words": "a;b;c", "price": None},
    {"id": "d", "title": "naïve", "words": None, "price": "7"},
]


def text(delimiter=",", line_end="\r\n", rows=ROWS, quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def cells(path):
    return [{name: cell if cell != "" else None for name, cell in row.items()} for row in Rows.open(path).dicts()]


def complete(rows):
    return [{name: cell for name, cell in row.items() if cell is not None} for row in rows]


EXPECTED = [row | ({"price": float(row["price"])} if row["price"] else {}) for row in ROWS]
WAYS = {
    "semicolon": text(";").encode(),
    "tab": text("\t").encode(),
    "bar": text("|").encode(),
    "all quoted": text(quoting=csv.QUOTE_ALL).encode(),
    "UTF-8 with a mark": text().encode("utf-8-sig"),
    "cp1252": text(";").encode("cp1252"),
    "UTF-16 with a mark": text("\t").encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + text("\t").encode("utf-16-be"),
    "UTF-16 without a mark": text(";").encode("utf-16-le"),
    "UTF-32": text().encode("utf-32"),
    "sep=": b"sep=;\r\n" + text(";").encode(),
    "sep= in UTF-16": ("sep=\t\r\n" + text("\t")).encode("utf-16"),
    "sep= with a mark": ("sep=~\n" + text("~")).encode("utf-8-sig"),
    "lines of Unix": text(";", "\n").encode(),
    "lines of the old Mac": text(line_end="\r").encode(),
    "no last line end": text().rstrip().encode(),
    "empty columns and rows around": text(";").replace("\r\n", ";;\r\n").encode() + b";;;;;\r\n;;;;;\r\n\r\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_rows(way, tmp_path, capsys):
    (tmp_path / "rows.csv").write_bytes(WAYS[way])
    assert complete(cells(tmp_path / "rows.csv")) == complete(EXPECTED)
    note = capsys.readouterr().err
    assert (
        "is read as Windows-1252, such as Café; if that is wrong, save it as UTF-8, or give --encoding" in note
    ) == (way == "cp1252")


def test_decimal_commas_tabs_in_text_and_one_column_do_not_deceive(tmp_path):
    for content, delimiter, is_quoted, header in (
        ("id;price;size\n1;3,5;1,25\n2;4,0;2,5\n", ";", True, ["id", "price", "size"]),
        ("id,title;subtitle\n1,a;b\n2,c;d\n3,e\n", ",", True, ["id", "title;subtitle"]),
        ("words\na, b and c\nd, e\n", ",", True, ["words"]),
        ('id\tsize\n1\t12" disc\n2\t"7 inch\n3\tLP\n', "\t", False, ["id", "size"]),
        ('id,"a;b;c"\n1,x\n', ",", True, ["id", "a;b;c"]),
        ("", ",", True, []),
    ):
        (tmp_path / "rows.csv").write_text(content)
        dialect = detect(tmp_path / "rows.csv")
        assert (dialect.delimiter, dialect.is_quoted, dialect.header) == (delimiter, is_quoted, header), content


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv"])
def test_long_files_with_line_breaks_in_quotes_are_read(suffix, tmp_path):
    count = 40_000
    rows = [{"id": str(at), "words": f'line {at}\nand "more",\n' + "x" * (at % 60)} for at in range(count)]
    rows[7]["words"] = "long " * 400_000  # longer than the blocks that Arrow reads by default
    path = tmp_path / f"rows{suffix}"
    path.write_text(text("\t" if suffix == ".tsv" else ",", "\n", rows), newline="")
    assert path.stat().st_size > 2_000_000
    assert [Rows.open(path).cells(name) for name in ("id", "words")] == [
        [row[name] for row in rows] for name in ("id", "words")
    ]


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "gbk", "euc_kr"])
def test_other_encodings_are_refused_with_the_fix(encoding, tmp_path):
    titles = {"cp1251": "Подмосковные вечера", "euc_kr": "아리랑 고개"}
    (tmp_path / "rows.csv").write_bytes(f"id,title\n1,{titles.get(encoding, '東京音楽')}\n".encode(encoding))
    with pytest.raises(DamagedError, match="its text is not UTF-8. Fix: save it as UTF-8, or give --encoding"):
        Rows.open(tmp_path / "rows.csv")


def test_a_given_encoding_is_read(tmp_path, capsys):
    titles = {"cp1250": "Příliš žluťoučký kůň", "cp1251": "Подмосковные вечера", "shift_jis": "東京音楽"}
    for encoding, title in titles.items():
        path = tmp_path / f"{encoding}.csv"
        path.write_bytes(f"id;title\n1;{title}\n".encode(encoding))
        assert Rows.open(path, encoding=encoding).cells("title") == [title]
        path.write_text(f"id;title\n1;{title}\n", encoding="utf-8")
        assert Rows.open(path, encoding=encoding).cells("title") == [title], "Unicode is seen"
    assert not capsys.readouterr().err
    path.write_bytes("id,title\n1,音\n".encode("gbk")[:-2] + b"\xff\n")
    with pytest.raises(DamagedError, match="its text is neither UTF-8 nor shift_jis"):
        Rows.open(path, encoding="shift_jis")
    for encoding, fix in (("cp125O", "did you mean cp125"), ("base64", "unknown encoding"), ("qq", "such as cp1250")):
        with pytest.raises(UsageError, match=fix):
            Rows.open(path, encoding=encoding)
    with pytest.raises(UsageError, match="applies only to .csv files"):
        Rows.open([{"id": "1"}], encoding="cp1250")


def test_a_recipe_and_a_checkpoint_remember_the_encoding(tmp_path, capsys):
    table = tmp_path / "songs.csv"
    rows = [f"{n};{title};{title[:4]}" for n, title in enumerate(["žluťoučký kůň", "příliš tiše"] * 8)]
    table.write_bytes("\n".join(["id;title;genre", *rows, ""]).encode("cp1250"))
    recipe, run = tmp_path / "my.yaml", tmp_path / "run"
    assert main(["init", str(table), "--out", str(recipe), "--encoding", "cp1250"]) == 0
    assert "encoding: cp1250" in recipe.read_text()
    assert main(["fit", "-c", str(recipe), "--trainer.max_epochs", "1", "--trainer.default_root_dir", str(run)]) == 0
    assert open_as_trained(table, run).cells("title")[:2] == ["žluťoučký kůň", "příliš tiše"]
    capsys.readouterr()
    assert main(["init", str(table), "--out", str(tmp_path / "b.yaml"), "--encoding", "cp12"]) == 2
    error = capsys.readouterr().err
    assert "unknown encoding 'cp12'" in error and error.count("\n") == 1


def test_a_row_with_too_many_cells_is_named(tmp_path):
    (tmp_path / "rows.csv").write_text("id;word\n1;a\n2;b;c\n")
    with pytest.raises(DamagedError, match="Row #3: Expected 2 columns, got 3"):
        Rows.open(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_text("id;word;word\n1;a;b\n")
    with pytest.raises(UsageError, match="two columns have the same name, word"):
        Rows.open(tmp_path / "rows.csv")


def test_rows_of_json_in_utf_16_are_read(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(
        '{"id": "1", "title": "Café"}\r\n'.encode("utf-16")
    )  # as PowerShell writes it
    assert Rows.open(tmp_path / "rows.jsonl").cells("title") == ["Café"]
