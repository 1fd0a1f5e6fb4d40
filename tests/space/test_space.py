"""The same input gives the same vector: alone, among others, after a reload."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
import torch

import jointembed
from jointembed import (
    GRU,
    MLP,
    BagOfWords,
    Category,
    CausalTransformer,
    ConvNet,
    EmbeddingBag,
    Encoder,
    JointEmbedding,
    LogMel,
    Match,
    Numbers,
    Ragged,
    Regression,
    Space,
    SparseImage,
    Subwords,
    TextTransformer,
)
from jointembed.errors import DamagedError, MismatchError, UnsafeError, UsageError

rng = np.random.default_rng(0)
WORDS = ["a slow waltz", "fast reel in the rain, played by two fiddles and a drum", "jazz", "blues at night"] * 10


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Sounds of 0.2 to 9 seconds."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = []
    for number, seconds in enumerate([0.3, 1.0, 9.0, 0.2, 2.5, 1.7] * 8):
        samples = rng.normal(0, 0.1, int(8000 * seconds)).astype(np.float32)
        paths.append(str(folder / f"{number}.wav"))
        soundfile.write(paths[-1], samples, 8000)
    return paths


@pytest.fixture(scope="module")
def model(sounds):
    """A model with a column of every kind, untrained but built."""
    torch.manual_seed(0)
    model = JointEmbedding(
        8,
        {
            "audio": ConvNet(LogMel(8000, 1.0, 32, 256, 80), [8, 16], 24),
            "bitmap": ConvNet(SparseImage([12, 10]), [8], 16, axis=None),
            "lit": EmbeddingBag(SparseImage([12, 10]), hidden=[8]),
            "caption": TextTransformer(Subwords(300, 32), 16, 1, 2),
            "words": EmbeddingBag(BagOfWords()),
            "genre": EmbeddingBag(Category()),
            "facts": MLP(Numbers(["tempo", "length"]), 8),
        },
        [Match("audio", "genre", "all"), Match("audio", "caption"), Regression("words", "price")],
        fusions={"song": ["audio", "words", "facts"]},
    )
    cells = {
        "audio": sounds,
        "caption": WORDS,
        "words": WORDS,
        "genre": ["a", "b"],
        "price": [1.0, 3.0],
        "facts": [{"tempo": 100, "length": 3}, {"tempo": 90}],
        "bitmap": [],
        "lit": [],
    }
    for reader, columns in model.readers():
        reader.fit(cells[columns[0]])
    model.configure_model()
    return model.eval()


@pytest.fixture(scope="module")
def space(model):
    return model.space


@pytest.fixture(scope="module")
def cells(sounds):
    bitmaps = [(rng.random((12, 10)) * (rng.random((12, 10)) > 0.6)).astype(np.float32) for _ in range(40)]
    rows = [
        {"audio": sounds[n], "words": WORDS[n]} if n % 3 else {"words": WORDS[n], "tempo": 80 + n} for n in range(40)
    ]
    return {
        "audio": sounds,
        "bitmap": bitmaps,
        "lit": bitmaps,
        "caption": WORDS,
        "words": WORDS,
        "genre": ["a", "b"] * 20,
        "song": rows,
    }


COLUMNS = ["audio", "bitmap", "lit", "caption", "words", "genre", "song"]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_vector_does_not_depend_on_its_neighbours(space, cells, column):
    listed = cells[column]
    together = space.embed(column, listed)
    for size in (1, 2, 8):
        parts = [space.embed(column, listed[start : start + size]) for start in range(0, 16, size)]
        assert np.array_equal(np.concatenate(parts), together[:16]), f"in batches of {size}"
    assert np.array_equal(space.embed(column, listed[::-1])[::-1], together)


@pytest.mark.parametrize("column", COLUMNS)
def test_another_number_of_threads_changes_the_last_bits_at_most(space, cells, column):
    before = torch.get_num_threads()
    vectors = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            vectors.append(space.embed(column, cells[column][:12]))
    finally:
        torch.set_num_threads(before)
    assert np.abs(vectors[0] - vectors[1]).max() <= 1e-5


def test_a_fresh_process_with_only_the_checkpoint_gives_the_same_bits(model, space, cells, tmp_path):
    model.save(tmp_path / "model.ckpt")
    np.savez(
        tmp_path / "expected.npz",
        **{column: space.embed(column, cells[column][:5]) for column in COLUMNS if column != "song"},
    )
    np.save(tmp_path / "bitmaps.npy", np.stack(cells["bitmap"][:5]))
    script = f"""
        import numpy as np
        import sys
        from jointembed import Space
        space = Space.load({str(tmp_path / "model.ckpt")!r})
        expected = np.load({str(tmp_path / "expected.npz")!r})
        bitmaps = list(np.load({str(tmp_path / "bitmaps.npy")!r}))
        cells = {dict(audio=cells["audio"][:5], caption=WORDS[:5], words=WORDS[:5], genre=cells["genre"][:5])!r}
        cells |= {{"bitmap": bitmaps, "lit": bitmaps}}
        for column in cells:
            assert np.array_equal(space.embed(column, cells[column]), expected[column]), column
        assert "lightning" not in sys.modules, "vectors need no Lightning"
        print(space.fingerprint)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == space.fingerprint


def test_vectors_are_what_training_sees(space, cells):
    """`forward` and `embed` are one path: no skew between training and look-up."""
    space.eval()
    batch = {column: space.reader(column).encode(cells[column][:6]) for column in space.columns if column != "facts"}
    batch["facts"] = space.reader("facts").encode([None] * 6)
    with torch.no_grad():
        codes = space(batch)
    for column in ("audio", "bitmap", "lit", "caption", "words", "genre"):
        z = torch.nn.functional.normalize(codes[column].z).numpy()
        assert np.allclose(z, space.embed(column, cells[column][:6]), atol=1e-5), column


def test_a_long_file_is_the_mean_of_its_windows(space):
    samples = rng.normal(0, 0.1, 8000 * 4).astype(np.float32)
    reader = space.reader("audio")
    windows = reader.pieces(reader.preprocess(samples))
    assert len(windows) == 4
    with torch.inference_mode():
        h = space.encoders["audio"].pieces(
            Ragged(torch.from_numpy(np.stack(windows)), torch.zeros(4).long(), torch.zeros(1).long())
        )
        z = torch.nn.functional.normalize(space.projections["audio"](h.mean(0, keepdim=True)))
    assert np.allclose(z.numpy(), space.embed("audio", [samples]), atol=1e-5)


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.1, 1), (0.99, 1), (1.0, 1), (1.4, 1), (1.6, 2), (2.0, 2), (3.4, 3), (3.6, 4)]
)
def test_the_rest_of_a_file_counts_once_or_not_at_all(seconds, windows):
    reader = LogMel(8000, 1.0, 16, 256, 80)
    assert len(reader.pieces(reader.preprocess(np.ones(int(8000 * seconds), np.float32)))) == windows


def test_a_fused_row_needs_any_of_its_parts_and_no_more(space):
    subset = space.embed("song", [{"words": "jazz"}, {"words": "jazz", "tempo": 120, "length": 3}])
    assert np.isfinite(subset).all() and not np.allclose(subset[0], subset[1])
    with pytest.raises(UsageError, match="none of its parts"):
        space.embed("song", [{"words": None}])


def test_euclidean_vectors_keep_their_length():
    space = Space(4, {"genre": EmbeddingBag(Category())}, metric="euclidean")
    space.reader("genre").fit(["a", "b"])
    space.build()
    assert not np.allclose(np.linalg.norm(space.embed("genre", ["a", "b"]), axis=1), 1)
    a, b = space.vocabulary_vectors("genre")
    assert torch.allclose(space.score(a[None], b[None]), -(a - b).square().sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("words", None, "missing"),
        ("genre", {"a": 1}, "an id must be text or a number, got dict"),
        ("words", 3, "must be text, got int"),
        ("bitmap", np.zeros((3, 3)), "expected an image"),
        ("audio", "nowhere.wav", "does not exist"),
        ("rythm", "x", "no such column"),
        ("price", 3.0, "predict"),
        ("song", "x", "dict of columns"),
        ("bitmap", np.full((12, 10), np.nan), "grey levels"),
    ],
)
def test_cells_that_have_no_vector_are_refused_in_one_line(space, column, cell, words):
    with pytest.raises(UsageError, match=words) as error:
        space.embed(column, [cell])
    assert "\n" not in str(error.value) and "Fix: " in str(error.value)


class Shout(BagOfWords):
    """A reader of somebody else's."""

    def token_ids(self, element):
        return super().token_ids(element.replace("!", ""))


class Twice(Encoder):
    """An encoder of somebody else's, with a pooling of its own."""

    def build(self, dim):
        self.width = dim
        self.table = torch.nn.Embedding(self.reader.size + 1, dim)

    def pieces(self, x):
        return 2 * torch.stack(
            [self.table(x.values[a:b]).sum(0) for a, b in zip(x.offsets[:-1], x.offsets[1:], strict=True)]
        )

    def pool(self, h, x):
        return x.mean(h) + 1


def test_code_of_others_runs_only_where_it_is_trusted(tmp_path, monkeypatch):
    space = Space(4, {"words": Twice(Shout())})
    space.reader("words").fit(["jazz!", "rock"])
    space.build()
    vectors = space.embed("words", ["jazz", "rock", "jazz rock!"])
    space.save(tmp_path / "theirs.ckpt")
    with pytest.raises(UnsafeError, match="--trust"):
        Space.load(tmp_path / "theirs.ckpt")
    package = __name__.split(".")[0]
    again = Space.load(tmp_path / "theirs.ckpt", trust=[package])
    assert np.array_equal(again.embed("words", ["jazz", "rock", "jazz rock!"]), vectors)


def test_only_what_decides_a_vector_changes_the_fingerprint(model, space, tmp_path):
    model.save(tmp_path / "a.ckpt")
    again = JointEmbedding.load(tmp_path / "a.ckpt")
    assert again.space.fingerprint == space.fingerprint
    with torch.no_grad():
        again.objectives[0].loss.log_scale += 1
    assert again.space.fingerprint == space.fingerprint
    with torch.no_grad():
        weight = again.space.projections["audio"].weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert again.space.fingerprint != space.fingerprint
    second = Space.load(tmp_path / "a.ckpt")
    second.reader("words").restore({"terms": list(reversed(second.reader("words").vocabulary()))})
    assert second.fingerprint != space.fingerprint
    second.save(tmp_path / "space.ckpt")
    assert Space.load(tmp_path / "space.ckpt").fingerprint == second.fingerprint


def test_damaged_checkpoints_are_recognised(model, tmp_path):
    model.save(tmp_path / "a.ckpt")
    whole = (tmp_path / "a.ckpt").read_bytes()
    for number in range(25):
        broken = tmp_path / "broken.ckpt"
        if number < 12:
            broken.write_bytes(whole[: len(whole) * number // 12])
        else:
            place = len(whole) * (number - 12) // 13
            broken.write_bytes(whole[:place] + bytes(b ^ 255 for b in whole[place : place + 64]) + whole[place + 64 :])
        with pytest.raises((DamagedError, MismatchError, UnsafeError)) as error:
            Space.load(broken)
        assert "broken.ckpt" in str(error.value) and "\n" not in str(error.value)


def test_pickles_and_strange_files_run_nothing(tmp_path):
    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "canary"), "w"))

    torch.save({"state_dict": {}, "jointembed": Canary()}, tmp_path / "evil.ckpt")
    with pytest.raises(UnsafeError):
        Space.load(tmp_path / "evil.ckpt")
    hidden = {
        "version": 2,
        "space": {"class_path": "os.system", "init_args": {"command": f"touch {tmp_path}/canary"}},
        "readers": {},
        "description": "",
        "predicted_columns": [],
    }
    torch.save({"state_dict": {}, "jointembed": hidden}, tmp_path / "plain.ckpt")
    with pytest.raises(UnsafeError, match="os.system"):
        Space.load(tmp_path / "plain.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(MismatchError):
        Space.load(tmp_path / "foreign.ckpt")
    assert not (tmp_path / "canary").exists()


def test_every_public_name_loads_and_nothing_else():
    for name in jointembed.__all__:
        assert getattr(jointembed, name).__name__ == name
    with pytest.raises(AttributeError):
        jointembed.nothing  # noqa: B018


@pytest.mark.parametrize(
    "name", ["type", "keys", "values", "weight", "half", "float", "training", "items", "a.b", "ü %2E", ""]
)
def test_any_name_may_be_that_of_a_column(name, tmp_path):
    encoders = {name: EmbeddingBag(Category()), "words": EmbeddingBag(BagOfWords())}
    model = JointEmbedding(
        4, encoders, [Match("words", name, "all")], pools={"words": GRU(4)}, fusions={"pop": ["words", name]}
    )
    model.space.reader(name).fit(["x", "y"])
    model.space.reader("words").fit(WORDS)
    model.configure_model()
    model.save(tmp_path / "model.ckpt")
    for again in (Space.load(tmp_path / "model.ckpt"), JointEmbedding.load(tmp_path / "model.ckpt").space):
        assert list(again.encoders) == [name, "words"]
        assert np.array_equal(again.embed(name, ["x", "y"]), model.space.embed(name, ["x", "y"]))
        assert again.fingerprint == model.space.fingerprint


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"modality_dropout": {"word": 0.3}}, "did you mean words"),
        ({"modality_dropout": {"words": 1.0}}, "below 1"),
        ({"mixup": {"word": 0.4}}, "did you mean words"),
        ({"mixup": {"words": 0.0}}, "above 0"),
        ({"mixup": {"genre": 0.4}}, "part of the fusion both"),
        ({"pools": {"genres": CausalTransformer()}}, "did you mean genre"),
        ({"columns": {"text": "word"}}, "did you mean words"),
        ({"fusions": {"both": ["words", "gener"]}}, "did you mean genre"),
        ({"fusions": {"both": []}}, "no parts"),
        ({"fusions": {"both": ["words", "genre"], "all": ["both", "genre"]}}, "fusions.all.both"),
        ({"fusions": {"words": ["genre"]}}, "fusions.words"),
        ({"metric": "cosin"}, "did you mean cosine"),
        ({"dim": 0}, "at least 1"),
        ({"matryoshka_dims": [2, 16]}, "1 to 8"),
    ],
)
def test_settings_that_name_nothing_are_refused_in_one_line(settings, words):
    encoders = {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}
    base = {"dim": 8, "fusions": {"both": ["words", "genre"]}}
    with pytest.raises(UsageError, match=words) as error:
        JointEmbedding(encoders=encoders, objectives=[], **{**base, **settings})
    assert "\n" not in str(error.value)
