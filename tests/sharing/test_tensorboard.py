"""Export to TensorBoard's projector: exact vectors, a line of labels for each point, and thumbnails."""

import contextlib
import io
import re
import shutil
import socket
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.sharing.tensorboard import thumbnail, thumbnail_size, write

UNUSUAL_TEXTS = [
    "a/b",
    "tab\there",
    "new\nline",
    "q'\"",
    "😀 日本",
    "\udce9.wav",
    " ",
    "\u2028",
    "<b>",
    "__proto__",
    "1e5",
    "\r",
    "-",
]


def lines(folder):
    """The lines as TensorBoard counts them: split at \\n alone, without blank lines."""
    return [line for line in (folder / "metadata.tsv").read_bytes().decode().split("\n") if line.strip()]


def tensors(folder):
    return np.loadtxt(folder / "tensors.tsv", np.float32, delimiter="\t", ndmin=2)


@pytest.fixture
def digits(tmp_path):
    """Handwritten digits of scikit-learn as an index beside their images."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = data.images[:200]
    vectors = images.reshape(200, -1).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (tmp_path / "bitmap").mkdir()
    rows = []
    for at, (image, digit) in enumerate(zip(images, data.target[:200].tolist(), strict=True)):
        Image.fromarray((image * 15.9).astype(np.uint8)).save(tmp_path / "bitmap" / f"{at}.png")
        rows.append({"id": f"d{at}", "bitmap": f"bitmap/{at}.png", "digit": digit, "ink": float(image.mean()),
                     "fold": f"f{at % 3}"})  # fmt: skip
    with Index.create(tmp_path / "digits.index", 64, "cosine") as index:
        index.add(rows, vectors, "bitmap")
    return tmp_path / "digits.index"


def test_vectors_read_back_bit_for_bit(tmp_path):
    bits = np.random.default_rng(0).integers(0, 1 << 32, (500, 7), dtype=np.uint64).astype(np.uint32)
    vectors = bits.view(np.float32).copy()
    vectors[~np.isfinite(vectors)] = 0.1
    write(tmp_path, vectors, [{"id": str(at)} for at in range(500)])
    assert (tensors(tmp_path) == vectors).all()


@pytest.mark.parametrize("dim", [1, 2])
def test_vectors_of_fewer_than_3_dimensions_are_padded(tmp_path, dim):
    vectors = np.random.default_rng(0).standard_normal((4, dim)).astype(np.float32)
    write(tmp_path, vectors, [{"id": str(at)} for at in range(4)])
    assert tensors(tmp_path).shape == (4, 3)
    assert (tensors(tmp_path)[:, :dim] == vectors).all() and not tensors(tmp_path)[:, dim:].any()


def test_metadata_has_a_heading_only_for_several_columns(tmp_path):
    points = np.eye(len(UNUSUAL_TEXTS))
    write(tmp_path, points, [{"id": text} for text in UNUSUAL_TEXTS])
    assert len(lines(tmp_path)) == len(UNUSUAL_TEXTS) and not any("\t" in text for text in lines(tmp_path))
    write(tmp_path, points, [{"id": text, "a\tb": None, "n": 3} for text in UNUSUAL_TEXTS])
    heading, *rest = lines(tmp_path)
    assert heading.split("\t") == ["id", "a\\tb", "n"]
    assert [len(text.split("\t")) for text in rest] == [3] * len(UNUSUAL_TEXTS)
    assert rest[1].split("\t") == ["tab\\there", "", "3"]


def test_point_without_labels_has_a_line(tmp_path):
    write(tmp_path, np.eye(3), [{"genre": "waltz", "tempo": 3}, {}, {"genre": None, "tempo": None}])
    assert lines(tmp_path) == ["genre\ttempo", "waltz\t3", "-\t", "-\t"]
    write(tmp_path, np.eye(3), [{}, {}, {"id": ""}])
    assert lines(tmp_path) == ["-"] * 3


def test_folder_is_read_by_tensorboard(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text_format = pytest.importorskip("google.protobuf.text_format")
        plugin = pytest.importorskip("tensorboard.plugins.projector.projector_plugin")
    vectors = np.zeros((5, 4), np.float32)  # as bytes they would be UTF-8, which TensorBoard takes for numbers in text
    write(tmp_path, vectors, [{"id": str(at)} for at in range(5)], [np.zeros((3, 5), np.uint8)] * 5, 'naïve "a\\b"\n')
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), plugin.ProjectorConfig())
    [embedding] = config.embeddings
    assert embedding.tensor_name == 'naïve "a\\b"\\n' and list(embedding.tensor_shape) == [5, 4]
    assert (plugin._read_tensor_tsv_file(str(tmp_path / embedding.tensor_path)) == vectors).all()
    assert (tmp_path / embedding.metadata_path).is_file() and list(embedding.sprite.single_image_dim) == [5, 5]
    with Image.open(tmp_path / embedding.sprite.image_path) as sprite:
        assert sprite.size == (15, 15)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 17])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (5, 8, 3)])
def test_sprite_holds_the_thumbnail_of_each_point(tmp_path, count, shape):
    pictures = [np.full(shape, 10 + at, np.uint8) for at in range(count)]
    pictures[1] = None
    write(tmp_path, np.eye(count), [{"id": str(at)} for at in range(count)], pictures)
    edge, grid = max(shape[:2]), int(np.ceil(np.sqrt(count)))
    with Image.open(tmp_path / "sprite.png") as image:
        sprite = np.array(image)
    assert sprite.shape == (grid * edge, grid * edge, 3)
    for at in range(count):  # as TensorBoard finds it
        cell = sprite[at // grid * edge :, at % grid * edge :][:edge, :edge]
        assert set(np.unique(cell)) - {0} == ({10 + at} if at != 1 else {128})
        assert at == 1 or (cell > 0).sum() == 3 * shape[0] * shape[1]


@pytest.mark.parametrize("count", [1, 2, 16, 17, 10_000, 16_384, 16_385, 100_000])
def test_sprite_stays_within_the_limit_of_tensorboard(count):
    grid = int(np.ceil(np.sqrt(count)))
    assert 25 <= thumbnail_size(count) <= 64 and grid * thumbnail_size(count) <= 8192


def test_thumbnail_reads_paths_arrays_and_grey_levels(tmp_path):
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", image / 63)
    Image.new("RGB", (300, 100), (255, 0, 0)).save(tmp_path / "wide.jpg")
    assert (thumbnail("a.png", tmp_path, 20) == image).all()
    assert (thumbnail(["a.png", "b.png"], tmp_path, 20) == image).all()
    assert thumbnail("a.npy", tmp_path, 20).max() == 255
    Image.fromarray(image.astype(np.uint16) * 1000).save(tmp_path / "deep.png")
    assert (np.abs(thumbnail("deep.png", tmp_path, 20) - image / 63 * 255) <= 0.5).all()
    flat = thumbnail(image.ravel().tolist(), tmp_path, 20)
    assert flat.shape == (8, 8) and (flat == thumbnail(image.tolist(), tmp_path, 20)).all()
    wide = thumbnail("wide.jpg", tmp_path, 30)
    assert wide.shape == (10, 30, 3) and wide[..., 0].min() > 250 and wide[..., 1:].max() < 5


def test_thumbnail_ignores_other_files_and_paths_outside_the_root(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "out.png")
    Image.new("L", (8, 8)).save(inside / "a.png")
    (inside / "cut.png").write_bytes((inside / "a.png").read_bytes()[:40])
    (inside / "text.jpg").write_text("none")
    np.save(inside / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.save(inside / "line.npy", np.zeros(7))
    (inside / "link.png").symlink_to(tmp_path / "out.png")
    Image.new("1", (10_000, 10_000)).save(inside / "huge.png")
    for cell in ("../out.png", str(tmp_path / "out.png"), "link.png", "cut.png", "text.jpg", "pickled.npy", "line.npy",
                 "huge.png", "none.png", "", ".", "a\0.png", [], [1, 2], [[1, "x"]], {"a": 1}, None, 3.5):  # fmt: skip
        assert thumbnail(cell, inside, 20) is None, cell
    assert thumbnail("a.png", inside, 20) is not None


def test_projector_command_writes_a_folder_with_thumbnails(digits, tmp_path, capsys):
    assert main(["projector", str(digits), str(tmp_path / "tb")]) == 0
    out = capsys.readouterr().out
    assert "200 points, 64 dimensions, 200 with an image" in out and "by the model" not in out
    [right] = re.findall(r"digit \(by neighbors\): right for (\d+) of 200; always the commonest for 2\d\n", out)
    assert 180 < int(right) < 200
    heading, *rest = lines(tmp_path / "tb")
    assert heading.split("\t") == [
        "id", "digit", "digit (by neighbors)", "fold", "fold (by neighbors)", "ink", "bitmap"
    ]  # fmt: skip
    assert len(rest) == 200
    with Image.open(tmp_path / "tb" / "sprite.png") as image, Image.open(tmp_path / "bitmap" / "31.png") as original:
        assert image.size == (120, 120)
        assert (np.array(image)[16:24, 8:16, 0] == np.array(original)).all(), (
            "of 15 in a row, 31 is the second in the third"
        )
    words = ["projector", str(digits), str(tmp_path / "few"), "--where", "digit in (3, 4)", "--max-points", "20"]
    assert main(words) == 0
    assert "20 points of 4" in capsys.readouterr().out
    assert {line.split("\t")[1] for line in lines(tmp_path / "few")[1:]} == {"3", "4"}
    with Index.open(digits) as index:
        ids, vectors = index.vectors()
    positions = [ids.index(line.split("\t")[0]) for line in lines(tmp_path / "few")[1:]]
    assert (tensors(tmp_path / "few") == vectors[positions]).all()
    assert positions == sorted(positions) and positions[-1] > 120, "a sample of all of them"
    shutil.move(tmp_path / "bitmap", tmp_path / "moved")
    assert main(["projector", str(digits), str(tmp_path / "none")]) == 0
    assert "give --root" in capsys.readouterr().err and not (tmp_path / "none" / "sprite.png").exists()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_labels_in_the_vocabulary_are_predicted(tmp_path, capsys, metric):
    rng = np.random.default_rng(0)
    words = ["polka", "reel", "waltz", "loud"]
    points = rng.standard_normal((4, 6)).astype(np.float32) * (1 if metric == "cosine" else [[1], [2], [3], [9]])
    vectors = rng.standard_normal((60, 6)).astype(np.float32)
    if metric == "cosine":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [{"id": str(at), "genre": words[at % 3], "mood": ["loud", "soft"][at % 2]} for at in range(60)]
    del rows[7]["genre"]
    with Index.create(tmp_path / "a.index", 6, metric) as index:
        index.add(rows, vectors, "audio")
        index.set_vocabulary(words, points.astype(np.float32), "audio")
    assert main(["projector", str(tmp_path / "a.index"), str(tmp_path / "tb")]) == 0
    heading, *rest = (line.split("\t") for line in lines(tmp_path / "tb"))
    assert heading[1:4] == ["genre", "genre (by neighbors)", "genre (by the model)"]
    assert "mood (by the model)" not in heading, "soft is not in the vocabulary"
    exact = points[:3].astype(np.float64) @ vectors.T.astype(np.float64)
    if metric == "euclidean":
        exact = -np.square(points[:3, None].astype(np.float64) - vectors[None]).sum(2)
    predictions = [cells[heading.index("genre (by the model)")] for cells in rest]
    assert predictions == [words[at] for at in exact.argmax(0)]
    right = sum(cells[1] == cells[3] for cells in rest)
    assert f"genre (by the model): right for {right} of 59" in capsys.readouterr().out


def test_an_item_whose_neighbors_all_lack_a_cell_is_predicted_nothing(tmp_path, capsys):
    rows = [{"id": str(at), "genre": "waltz reel".split()[at % 2]} for at in range(16)]
    for at in (0, 1, 2, 8, 9, 10):  # 8, 9 and 10 lie apart, among rows without an artist
        rows[at]["artist"] = "AB"[at % 2]
    angles = np.array([*np.linspace(0, 0.01, 3), *np.linspace(1, 1.1, 5), *np.linspace(2, 5.5, 8)])
    order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 9, 14, 15, 10]
    vectors = np.zeros((16, 2), np.float32)
    vectors[order] = np.stack([np.cos(angles), np.sin(angles)], 1)
    with Index.create(tmp_path / "a.index", 2, "cosine") as index:
        index.add(rows, vectors, "audio")
    assert main(["projector", str(tmp_path / "a.index"), str(tmp_path / "tb")]) == 0
    heading, *cells = (line.split("\t") for line in lines(tmp_path / "tb"))
    predictions = [row[heading.index("artist (by neighbors)")] for row in cells]
    assert "" in [predictions[at] for at in (8, 9, 10)]
    assert "artist (by neighbors): right for " in capsys.readouterr().out


def test_projector_errors_are_one_line(digits, tmp_path, capsys):
    for words, message in [
        ((digits, digits), "not a folder"),
        ((digits, tmp_path / "tb", "--max-points", "1"), "between 2 and 100000"),
        ((digits, tmp_path / "tb", "--where", "digit = 77"), "no item meets"),
        ((digits, tmp_path / "tb", "--where", "id = 'd1'"), "at least 2"),
        ((digits, tmp_path / "tb", "--image-column", "ink"), "no cell of this column is an image"),
        ((digits, tmp_path / "tb", "--field", "sound"), "no such field"),
    ]:
        assert main(["projector", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert not (tmp_path / "tb").exists()
    with pytest.raises(UsageError, match="one vector, one row and one thumbnail"):
        write(tmp_path, np.eye(3), [{}] * 2)


@contextlib.contextmanager
def tensorboard(folder):
    """The address of a TensorBoard that shows a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port), "--load_fast", "false"]
    process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *arguments], stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                yield f"http://127.0.0.1:{port}"
                return
            time.sleep(0.1)
        raise AssertionError("TensorBoard did not start")
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unusual", [False, True])
def test_tensorboard_shows_every_point_in_a_browser(tmp_path, browser, unusual):
    pytest.importorskip("tensorboard")
    from playwright.sync_api import expect
    from sklearn.datasets import load_digits

    data = load_digits()
    if unusual:
        count, dim = len(UNUSUAL_TEXTS), 3
        write(tmp_path, np.random.default_rng(0).standard_normal((count, 2)), [{"id": text} for text in UNUSUAL_TEXTS])
    else:
        count, dim = 500, 64
        rows = [{"id": f"d{at}", "digit": int(digit)} for at, digit in enumerate(data.target[:500])]
        images = [(image * 15.9).astype(np.uint8) for image in data.images[:500]]
        write(tmp_path, data.data[:500], rows, images, "digits", ["digit"])
    with tensorboard(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/#projector")
        frame = page.frame_locator("iframe").frame_locator("iframe")
        expect(frame.locator(".numDataPoints")).to_have_text(str(count), timeout=60_000)
        expect(frame.locator(".dim")).to_have_text(str(dim))
        page.wait_for_timeout(4_000)
        screenshots = [page.screenshot()]
        expect(frame.get_by_text("do not match")).to_have_count(0)
        if not unusual:
            expect(frame.locator(".state-label")).to_have_count(1)  # the bookmark, which one click opens
            frame.locator(".state-radio paper-icon-button").click()
            expect(frame.locator("vz-projector-legend .item")).to_have_count(10)
            page.wait_for_timeout(4_000)
            screenshots.append(page.screenshot())
        page.close()
    assert not errors
    if not unusual:
        scenes = [np.array(Image.open(io.BytesIO(each)).convert("HSV"))[130:, 320:1090] for each in screenshots]
        assert all((scene[..., 2] < 20).mean() > 0.05 for scene in scenes), "the images have black pixels"
        grey, colored = ((scene[..., 1] > 120).mean() for scene in scenes)
        assert grey < 0.01 < colored, "the bookmark colors the digits"
