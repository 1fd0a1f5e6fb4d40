"""Pictures in colour, and a convolutional network over them."""

import numpy as np
import PIL.Image
import pytest
import torch

from jointembed import ConvNet, Space
from jointembed.errors import DamagedError, UsageError
from jointembed.readers.image import Image

rng = np.random.default_rng(0)
COLOURS = rng.integers(0, 256, (16, 16, 3), np.uint8)


def test_a_picture_is_the_same_in_every_form(tmp_path):
    PIL.Image.fromarray(COLOURS).save(tmp_path / "a.png")
    PIL.Image.fromarray(COLOURS).save(tmp_path / "a.bmp")
    PIL.Image.fromarray(np.dstack([COLOURS, np.full((16, 16), 255, np.uint8)])).save(tmp_path / "alpha.png")
    reader = Image([8, 8])
    expected = reader.preprocess(str(tmp_path / "a.png"))
    assert expected.shape == (3, 8, 8) and expected.dtype == np.float32 and 0 <= expected.min() < expected.max() <= 1
    for cell in (tmp_path / "a.bmp", tmp_path / "alpha.png", COLOURS, COLOURS.astype(np.int64), COLOURS / 255):
        assert np.array_equal(reader.preprocess(cell), expected)
    whole = Image([16, 16]).preprocess(COLOURS)
    assert np.array_equal(whole, COLOURS.transpose(2, 0, 1) / np.float32(255)), "one of the right size is not changed"


def test_colours_tell_pictures_apart_which_are_one_in_grey():
    red, blue = (np.zeros((8, 8, 3), np.uint8) for _ in range(2))
    red[..., 0] = blue[..., 2] = 200
    reader = Image([4, 4])
    assert reader.preprocess(red)[:, 0, 0].tolist() == pytest.approx([200 / 255, 0, 0])
    assert reader.preprocess(blue)[:, 0, 0].tolist() == pytest.approx([0, 0, 200 / 255])
    assert len(set(reader.preprocess(red[..., 0])[:, 0, 0].tolist())) == 1, "an array of grey levels is grey"


def test_what_is_seen_through_is_white_and_what_is_too_wide_is_cut_round_its_middle(tmp_path):
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:4, :, 3] = 255
    PIL.Image.fromarray(clear).save(tmp_path / "clear.png")
    seen = Image([8, 8]).preprocess(tmp_path / "clear.png")
    assert (seen[:, :4] == 0).all() and (seen[:, 4:] == 1).all()
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    assert (Image([8, 8]).preprocess(wide) == 1).all()


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    about = PIL.Image.Exif()
    about[0x0112] = 3  # upside down
    half = np.zeros((16, 16, 3), np.uint8)
    half[:8] = 255
    PIL.Image.fromarray(half).save(tmp_path / "a.png", exif=about)
    assert Image([2, 2]).preprocess(tmp_path / "a.png")[0, :, 0].round().tolist() == [0, 1]


def test_augmentation_is_that_of_its_random_numbers_and_without_settings_is_none():
    reader, loaded = Image([8, 8], shift=2, flip=True, brightness=0.3), Image([8, 8]).preprocess(COLOURS)
    kept = loaded.copy()
    one, two, other = (reader.augment(loaded, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other) and np.array_equal(loaded, kept)
    assert one.shape == reader.shape and one.dtype == np.float32 and 0 <= one.min() and one.max() <= 1
    assert np.array_equal(Image([8, 8]).augment(loaded, rng), loaded)
    assert reader.preprocess_config() == Image([8, 8]).preprocess_config(), "what is kept on the disk serves both"


@pytest.mark.parametrize("harm", ["cut", "text", "gone", "words", "values", "channels"])
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, harm):
    path = tmp_path / "a.png"
    cell = {"words": "no path", "values": np.full((4, 4), 300), "channels": np.zeros((4, 4, 2))}.get(harm, str(path))
    if harm == "text":
        path.write_text("no picture")
    elif harm == "cut":
        PIL.Image.fromarray(COLOURS).save(path)
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DamagedError if harm in ("cut", "text") else UsageError) as failure:
        Image([8, 8]).preprocess(cell)
    assert "\n" not in str(failure.value) and "Fix: " in str(failure.value)
    with pytest.raises(UsageError, match="size"):
        Image([8])


def test_a_network_over_colours_comes_back_with_its_checkpoint(tmp_path):
    torch.manual_seed(0)
    space = Space(4, {"image": ConvNet(Image([16, 16]), [4, 8], 8, axis=None)})
    cells = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(6)]
    space.reader("image").fit([*cells, None])
    assert np.allclose(np.ravel(space.reader("image").mean), np.stack(cells).mean((0, 1, 2)) / 255, atol=1e-3)
    space.build()
    before = space.embed("image", cells)
    assert np.array_equal(space.embed("image", cells[2:3])[0], before[2]), "alone as among others"
    assert not np.allclose(space.embed("image", [cells[0][..., ::-1]])[0], before[0]), "red is not blue"
    space.save(tmp_path / "image.ckpt")
    assert np.array_equal(Space.load(tmp_path / "image.ckpt").embed("image", cells), before)
    space.train()
    assert space({"image": space.reader("image").encode([None, None])})["image"].z.shape == (2, 4)
