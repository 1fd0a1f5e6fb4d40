"""Readers: reference values, one number for every way of writing, and states that fit into JSON."""

import json
import pickle
import unicodedata

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from PIL import Image

from jointembed import (
    BagOfWords,
    Category,
    ConvNet,
    EmbeddingBag,
    LogMel,
    Numbers,
    Space,
    SparseImage,
    Subwords,
)
from jointembed.errors import DamagedError, UsageError
from jointembed.readers.mel import LogMelSpectrogram
from jointembed.readers.windows import evenly_spaced

rng = np.random.default_rng(0)
SAMPLES = rng.normal(0, 0.1, 20_000).astype(np.float32)
LONG = {
    "n_fft": 512, "hop_length": 160, "n_mels": 64, "f_min": 40.0, "f_max": 7600.0,
}  # fmt: skip


SETTINGS = [
    (16000, LONG),
    (22050, {"n_fft": 1024, "hop_length": 512, "n_mels": 40}),
    (8000, {"n_fft": 256, "hop_length": 80, "n_mels": 20, "win_length": 200}),
]


@pytest.mark.parametrize(("rate", "settings"), SETTINGS)
def test_log_mel_equals_torchaudio(rate, settings):
    got = LogMelSpectrogram(rate, **settings)(torch.from_numpy(SAMPLES)).numpy()
    transform = torchaudio.transforms.MelSpectrogram(
        rate, power=2.0, norm="slaney", mel_scale="slaney", pad_mode="constant", **settings
    )
    assert got.shape == (1 + len(SAMPLES) // settings["hop_length"], settings["n_mels"])
    assert np.abs(got - np.log(transform(torch.from_numpy(SAMPLES)).numpy().T + 1e-6)).max() <= 1e-4


@pytest.mark.slow  # librosa compiles its functions first
@pytest.mark.parametrize(("rate", "settings"), SETTINGS)
def test_log_mel_equals_librosa(rate, settings):
    import librosa

    got = LogMelSpectrogram(rate, **settings)(torch.from_numpy(SAMPLES)).numpy()
    named = {"f_min": "fmin", "f_max": "fmax"}
    energy = librosa.feature.melspectrogram(
        y=SAMPLES, sr=rate, power=2.0, htk=False, norm="slaney", pad_mode="constant",
        **{named.get(name, name): value for name, value in settings.items()},
    )  # fmt: skip
    assert np.abs(got - np.log(energy.T + 1e-6)).max() <= 1e-4


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.48, 2.52, 7.0])
def test_windows_equal_the_pieces_of_the_whole_sound(seconds):
    reader = LogMel(sample_rate=8000, seconds=1.0, n_mels=16, n_fft=256, hop_length=80)
    sound = np.random.default_rng(0).normal(0, 0.1, round(seconds * 8000)).astype(np.float32)
    whole = reader.pieces(reader.preprocess(sound))
    assert len(whole) == max(1, round(seconds))  # a rest of half a window or more is one more
    for most in (None, 1, 2, 3, 100):
        numbers = evenly_spaced(len(whole), most)
        windows = reader.windows(sound, most)
        assert len(windows) == len(numbers) <= (most or 100)
        assert all(np.array_equal(window, whole[number]) for window, number in zip(windows, numbers, strict=True))


@pytest.mark.parametrize(
    ("count", "most", "numbers"), [(4, None, [0, 1, 2, 3]), (3, 5, [0, 1, 2]), (36, 3, [6, 18, 30]), (5, 1, [2])]
)
def test_windows_are_evenly_spaced(count, most, numbers):
    assert evenly_spaced(count, most) == numbers


def test_silence_is_the_floor_and_a_tone_is_in_its_band():
    front = LogMelSpectrogram(16000, **LONG)
    assert np.allclose(front(torch.zeros(4000)).numpy(), front.silence)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    bands = torchaudio.functional.melscale_fbanks(257, 40.0, 7600.0, 64, 16000, norm="slaney", mel_scale="slaney")
    assert int(front(tone)[50].argmax()) == int(bands[1000 * 512 // 16000].argmax())


LOUD = {"shift": 0.1, "speed": 0.3, "pitch": 3.0, "gain": 12.0, "equalizer": 6.0, "masks": 3}


def test_augmentation_never_runs_at_embed(monkeypatch):
    reader = LogMel(8000, 0.5, 16, 256, 80, **LOUD)
    plain = LogMel(8000, 0.5, 16, 256, 80)
    models = []
    for first in (reader, plain):
        torch.manual_seed(0)
        model = Space(4, {"audio": ConvNet(first, [4], 8)})
        model.build()
        models.append(model)
    expected = models[1].embed("audio", [SAMPLES])
    models[0].train()  # a figure computed in the middle of training
    monkeypatch.setattr(LogMel, "augment", lambda *_: pytest.fail("augment ran"))
    assert np.array_equal(models[0].embed("audio", [SAMPLES]), expected)


def test_augmentation_depends_on_the_generator_only_and_keeps_the_shape():
    reader = LogMel(8000, 0.5, 16, 256, 80, **LOUD)
    for seconds in (0.1, 0.5, 2.0):
        frames = reader.preprocess(SAMPLES[: int(8000 * seconds)])
        original = frames.copy()
        first, second, transform = (reader.augment(frames, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first.shape == reader.shape and first.dtype == np.float32 and np.isfinite(first).all()
        assert np.array_equal(first, second) and not np.array_equal(first, transform)
        assert np.array_equal(frames, original), "what is kept on the disk is not written to"


def test_augmentation_without_settings_only_crops_a_window():
    reader = LogMel(8000, 0.5, 16, 256, 80)
    short = reader.preprocess(SAMPLES[:2000])
    assert np.array_equal(reader.augment(short, rng), reader.pieces(short)[0])
    long = reader.preprocess(SAMPLES)
    window = reader.augment(long, rng)
    assert any(np.array_equal(window, long[start : start + reader.frames]) for start in range(len(long)))


# -- text --------------------------------------------------------------------------------------------------------------

WAYS = [
    (unicodedata.normalize("NFC", "Café Zürich"), unicodedata.normalize("NFD", "Café Zürich")),
    ("jazz 42", "ｊａｚｚ　４２"),
    ("STRASSE", "Straße"),
    ("ﬁne oﬃce", "fine office"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("カラオケ", "ｶﾗｵｹ"),
]


@pytest.mark.parametrize("reader", [BagOfWords(), Subwords(400, 32)], ids=lambda reader: type(reader).__name__)
@pytest.mark.parametrize("ways", WAYS, ids=lambda ways: ways[0])
def test_text_is_normalised(reader, ways):
    for learned in ways:
        reader.fit([learned, "other words"])
        first, second = (list(reader.token_ids(way)) for way in ways)
        assert first == second
        assert reader.size not in first, "and they are known whichever was learned"


@pytest.mark.parametrize("reader", [BagOfWords(), Subwords(400, 32)], ids=lambda reader: type(reader).__name__)
def test_half_an_emoji_is_an_unknown_character(reader):
    reader.fit(["slow \ud83d", "\ude00 waltz \ufffd", ["\ud83d"]])
    assert list(reader.token_ids("waltz \ud83d")) == list(reader.token_ids("waltz \ufffd"))
    assert list(reader.token_ids("waltz \ud83d\ude00")) == list(reader.token_ids("waltz \U0001f600"))


def test_words_are_split_at_punctuation():
    reader = BagOfWords()
    reader.fit(["Don't stop, rock'n'roll!", None, ["two texts", "in a cell"], "snake_case 3-4"])
    assert reader.vocabulary() == [
        "3",
        "4",
        "a",
        "case",
        "cell",
        "don't",
        "in",
        "rock'n'roll",
        "snake",
        "stop",
        "texts",
        "two",
    ]
    x = reader.encode(["stop!", ["two", "unheard of"], "?!", None])
    assert x.rows.tolist() == [0, 1, 1, 2] and x.offsets.tolist() == [0, 1, 2, 4, 5]
    assert x.values.tolist() == [9, 11, 12, 12, 12] and x.present.tolist() == [True, True, True, False]


def test_rare_words_are_dropped():
    reader = BagOfWords(min_count=2, max_terms=2)
    reader.fit(["b b b a a c c d"])
    assert reader.vocabulary() == ["a", "b"]


@pytest.mark.parametrize("typed", ["<s>", "</s>", "[CLS]", "[PAD]", "[UNK]", "<|endoftext|>", "<pad>", "[MASK]"])
def test_special_tokens_in_a_text_are_plain_text(typed):
    reader = Subwords(400, 32)
    reader.fit(["a slow waltz [CLS] <s> </s>", "the reel <pad>"] * 3)
    numbers = list(reader.token_ids(f"slow {typed} waltz"))
    assert len(numbers) > len(reader.token_ids("slow waltz")) and max(numbers) < reader.size
    assert reader._tokenizer.decode(numbers).replace("Ġ", "").replace(" ", "") == f"slow{typed}waltz".lower()


def test_subwords_encode_any_text_and_truncate_long_ones():
    reader = Subwords(300, 8)
    reader.fit(["abc"])
    assert len(reader.token_ids("x" * 100)) == 8
    assert reader.size not in reader.token_ids("日本 🎵 \x00")
    assert list(reader.token_ids("")) == [reader.size]


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_unknown_id_has_the_number_after_the_last():
    reader = Category(min_count=2)
    reader.fit(["b", "b", ["a", "a"], "rare", None])
    assert reader.size == 2 and reader.unknown(["rare", "a"]) == ["rare"]
    assert reader.encode(["a", "rare", "new", ["b", "new"]]).values.tolist() == [0, 2, 2, 1, 2]


def test_ids_are_compared_as_text():
    reader = Category()
    reader.fit([3, "03", "3.0", "A", "a", np.int64(7), 2.5])
    assert reader.vocabulary() == ["03", "2.5", "3", "3.0", "7", "A", "a"]
    for same in (3, 3.0, "3", np.float32(3), np.int8(3)):
        assert reader.token_ids(same) == (2,)
    assert reader.encode([[3, 7], np.array([3, 7])]).values.tolist() == [2, 4, 2, 4]


# -- bitmaps -----------------------------------------------------------------------------------------------------------


def test_sparse_image_is_equal_as_path_array_or_list(tmp_path):
    grey = (rng.random((6, 5)) * 255 * (rng.random((6, 5)) > 0.5)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey).convert("RGB").save(tmp_path / "rgb.png")
    Image.fromarray(grey).save(tmp_path / "a.bmp")
    np.save(tmp_path / "a.npy", grey)
    np.save(tmp_path / "flat.npy", np.asfortranarray(grey).ravel(order="C"))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(grey))
    reader = SparseImage([6, 5])
    expected = reader.encode([grey])
    assert expected.values.tolist() == np.flatnonzero(grey).tolist()
    assert np.allclose(expected.weights, grey[grey > 0] / 255.0)
    cells = [
        str(tmp_path / "a.png"), str(tmp_path / "rgb.png"), tmp_path / "a.bmp",
        str(tmp_path / "a.npy"), str(tmp_path / "flat.npy"),
        str(tmp_path / "fortran.npy"), grey.ravel(), grey.tolist(), grey.ravel().tolist(), np.asfortranarray(grey),
        grey.astype(np.int64),
        grey.astype(np.float32) / np.float32(255), np.repeat(grey, 2, 1)[:, ::2],
    ]  # fmt: skip
    for cell in cells:
        x = reader.encode([cell])
        assert torch.equal(x.values, expected.values) and torch.equal(x.weights, expected.weights), str(cell)


def test_boolean_image_has_weights_of_one():
    lit = rng.random((6, 5)) > 0.5
    reader = SparseImage([6, 5])
    x, y = (
        reader.encode([lit, np.asfortranarray(lit)]),
        reader.encode([lit.astype(np.float64), lit.astype(np.uint8) * 255]),
    )
    for first in (x, y):
        assert first.values.tolist() == np.flatnonzero(lit).tolist() * 2 and set(first.weights.tolist()) == {1.0}


def test_blank_image_is_present_and_missing_cell_is_not():
    x = SparseImage([2, 2]).encode([np.zeros((2, 2)), None])
    assert x.present.tolist() == [True, False] and x.offsets.tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(10**9, 128), (2**62, 8), (-6, 5), (6, 6)])
def test_array_that_declares_more_than_its_file_holds_is_refused_before_it_is_read(tmp_path, shape):
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(6 * 5 * 8))
    with pytest.raises(DamagedError, match="cannot be read as an array"):
        SparseImage([6, 5]).preprocess(tmp_path / "a.npy")


def test_archive_of_arrays_is_not_an_array(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, a=np.zeros((6, 5)))
    with pytest.raises(DamagedError, match="cannot be read as an array"):
        SparseImage([6, 5]).preprocess(tmp_path / "a.npy")


def test_grey_levels_of_16_bits_keep_their_order(tmp_path):
    levels = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000
    Image.fromarray(levels).save(tmp_path / "a.png")
    grey = SparseImage([6, 5]).preprocess(tmp_path / "a.png")
    assert (np.diff(grey) > 0).all() and np.abs(grey - levels.ravel() / 65535).max() < 1 / 255


@pytest.mark.parametrize("harm", ["cut", "pickle", "text", "shape", "gone"])
def test_unreadable_images_are_refused(tmp_path, harm):
    path = tmp_path / ("a.npy" if harm == "pickle" else "a.png")
    if harm == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif harm == "text":
        path.write_text("no picture")
    elif harm != "gone":
        Image.fromarray(rng.integers(0, 255, (9, 9), np.uint8)).save(path)
        if harm == "cut":
            path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UsageError if harm in ("shape", "gone") else DamagedError, match=path.name) as failure:
        SparseImage([6, 5]).preprocess(str(path))
    assert "\n" not in str(failure.value) and "Fix: " in str(failure.value)


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_numbers_are_standardised_and_inverted():
    columns = ["rooms", "area", "same"]
    cells = [
        {"rooms": 2, "area": 50.0, "same": 1},
        {"rooms": 4, "area": 90, "same": 1},
        {"rooms": "6", "same": 1},
        None,
    ]
    reader = Numbers(columns)
    reader.fit(cells)
    x = reader.encode(cells)
    assert x.present.tolist() == [True, True, True, False]
    table = x.values.numpy()
    assert np.allclose(table.mean(0), 0, atol=1e-6) and np.allclose(table[:, 0].std(), 1)
    assert table[2, 1] == 0, "one that is missing counts as the mean"
    assert np.allclose(reader.inverse_transform(table), [[2, 50, 1], [4, 90, 1], [6, 70, 1]], rtol=1e-6)


def test_single_number_may_be_a_scalar_a_text_or_a_list():
    reader = Numbers()
    reader.fit([1, 2.0, "3", np.float32(4), [5], None, float("nan")])
    assert reader.mean == [3.0] and reader.std == [pytest.approx(2**0.5)]
    for cell in ("many", [1, 2], {"a": 1}):
        with pytest.raises(UsageError):
            reader.preprocess(cell)


# -- all ---------------------------------------------------------------------------------------------------------------


def fitted(tmp_path):
    soundfile.write(tmp_path / "a.wav", SAMPLES, 8000)
    texts = ["A slow waltz", ["fast", "reel"], None, "ça va <s>"]
    sounds = [str(tmp_path / "a.wav"), SAMPLES[:3000]]
    return {
        "BagOfWords": (BagOfWords(), texts), "Subwords": (Subwords(300, 16), texts),
        "Category": (Category(), [["a", 3], "b", 2.5, None]),
        "Numbers": (Numbers(), [1, 2, None, 7]), "SparseImage": (SparseImage([2, 2]), [[0, 1, 2, 3], np.eye(2)]),
        "LogMel": (LogMel(8000, 0.5, 16, 256, 80), sounds),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["BagOfWords", "Subwords", "Category", "Numbers", "SparseImage", "LogMel"])
def test_reader_is_restored_from_json(name, tmp_path):
    reader, cells = fitted(tmp_path)[name]
    reader.fit(cells)
    again = type(reader)(**reader._init_args)
    again.restore(json.loads(json.dumps(reader.state())))
    assert (
        again.size == reader.size
        and again.state() == reader.state()
        and again.preprocess_config() == reader.preprocess_config()
    )
    json.dumps(reader.preprocess_config())
    expected = reader.encode(cells)
    for transform in (again, pickle.loads(pickle.dumps(reader))):  # the data workers get it pickled
        x = transform.encode(cells)
        for part in ("values", "rows", "row_keys", "offsets", "weights", "piece_keys"):
            a, b = getattr(x, part), getattr(expected, part)
            assert (a is None) == (b is None) and (a is None or torch.equal(a, b)), part


@pytest.mark.parametrize("name", ["BagOfWords", "Subwords", "Category", "Numbers", "SparseImage", "LogMel"])
def test_column_of_missing_cells_has_the_usual_shapes(name, tmp_path):
    reader, cells = fitted(tmp_path)[name]
    reader.fit(cells)
    x, none = reader.encode(cells), reader.encode([None, None])
    assert len(none) == 2 and not none.present.any() and len(set(none.row_keys.tolist())) == 2
    assert none.values.shape == (0, *x.values.shape[1:]) and none.values.dtype == x.values.dtype
    assert (none.offsets is None) == (x.offsets is None)


def test_reader_without_training_cells_is_reported():
    model = Space(4, {"genre": EmbeddingBag(Category())})
    model.reader("genre").fit([None])
    with pytest.raises(UsageError, match="its vocabulary is empty"):
        model.build()


@pytest.mark.parametrize("query", ["[Live] at noon", "{a}", "[1]", "[", '{"a": 1}', "[]"])
def test_text_of_a_query_is_text_whatever_it_begins_with(query):
    assert BagOfWords().parse(query) == query
    assert BagOfWords().parse('["a reel", "a waltz"]') == ["a reel", "a waltz"]


def test_id_of_a_query_may_begin_like_json():
    assert [Category().parse(query) for query in ("[x]", "5", "[5, 9]")] == ["[x]", "5", [5, 9]]
