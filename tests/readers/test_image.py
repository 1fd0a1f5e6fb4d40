"""Colour images as a reader prepares them, and a convolutional network over them."""

import numpy as np
import PIL.Image
import pytest
import torch

from jointembed import ConvNet, Space
from jointembed.errors import DamagedError, UsageError
from jointembed.readers.image import Image

rng = np.random.default_rng(0)
COLOURS = rng.integers(0, 256, (16, 16, 3), np.uint8)


def test_image_is_equal_as_path_array_or_list(tmp_path):
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


def test_images_of_equal_grey_differ_in_colour():
    red, blue = (np.zeros((8, 8, 3), np.uint8) for _ in range(2))
    red[..., 0] = blue[..., 2] = 200
    reader = Image([4, 4])
    assert reader.preprocess(red)[:, 0, 0].tolist() == pytest.approx([200 / 255, 0, 0])
    assert reader.preprocess(blue)[:, 0, 0].tolist() == pytest.approx([0, 0, 200 / 255])
    assert len(set(reader.preprocess(red[..., 0])[:, 0, 0].tolist())) == 1, "an array of grey levels is grey"


def test_transparency_becomes_white_and_wide_images_are_cropped(tmp_path):
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:4, :, 3] = 255
    PIL.Image.fromarray(clear).save(tmp_path / "clear.png")
    image = Image([8, 8]).preprocess(tmp_path / "clear.png")
    assert (image[:, :4] == 0).all() and (image[:, 4:] == 1).all()
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    assert (Image([8, 8]).preprocess(wide) == 1).all()


@pytest.mark.parametrize("shape", [(31, 47), (48, 31), (12, 12), (5, 9)])
def test_image_is_resized_and_then_cropped_around_its_centre(shape):
    array = rng.integers(0, 256, (*shape, 3), np.uint8)
    image, short = PIL.Image.fromarray(array), min(shape)
    rows, columns = int(12 * shape[0] / short), int(12 * shape[1] / short)
    resized = np.asarray(image.resize((columns, rows), PIL.Image.Resampling.BILINEAR))
    top, left = (rows - 10) // 2, (columns - 10) // 2
    expected = resized[top : top + 10, left : left + 10].transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(Image([10, 10], resize=12, resample="bilinear").preprocess(array), expected)
    stretched = np.asarray(image.resize((14, 11), PIL.Image.Resampling.LANCZOS))[:, 2:12]
    expected = stretched.transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(Image([11, 10], resize=[11, 14], resample="lanczos").preprocess(array), expected)


def test_mean_and_std_that_are_given_are_not_learned():
    reader = Image([4, 4], mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    reader.fit([COLOURS])
    assert np.ravel(reader.mean).tolist() == [0.1, 0.2, 0.3] and np.ravel(reader.std).tolist() == [0.4, 0.5, 0.6]


def test_image_that_is_narrower_than_a_network_can_read_is_refused():
    with pytest.raises(UsageError, match="60000 x 1 pixels is too narrow for a shortest side of 224"):
        Image([224, 224], resize=224).preprocess(np.zeros((1, 60_000), np.uint8))
    assert Image([8, 8]).preprocess(np.zeros((1, 60_000), np.uint8)).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": [8]}, "expected rows and columns"),
        ({"size": [8, 8], "resize": [8]}, "expected rows and columns"),
        ({"size": [8, 8], "resize": 7}, "cannot be cropped"),
        ({"size": [8, 8], "resize": [9, 7]}, "cannot be cropped"),
        ({"size": [8, 8], "resample": "cubic"}, "did you mean bicubic?"),
        ({"size": [8, 8], "mean": [0.5] * 3}, "give both or neither"),
        ({"size": [8, 8], "mean": [0.5], "std": [0.5]}, "three numbers"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Image(**settings)


def test_augmentation_depends_on_the_generator_only():
    reader, loaded = Image([8, 8], shift=2, flip=True, brightness=0.3), Image([8, 8]).preprocess(COLOURS)
    original = loaded.copy()
    first, second, third = (reader.augment(loaded, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, third) and np.array_equal(loaded, original)
    assert first.shape == reader.shape and first.dtype == np.float32 and 0 <= first.min() and first.max() <= 1
    assert np.array_equal(Image([8, 8]).augment(loaded, rng), loaded)
    assert reader.preprocess_config() == Image([8, 8]).preprocess_config(), "what is kept on the disk serves both"


@pytest.mark.parametrize("harm", ["cut", "text", "gone", "words", "values", "channels"])
def test_cells_that_are_not_images_are_refused(tmp_path, harm):
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


def test_checkpoint_restores_a_network_over_images(tmp_path):
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
