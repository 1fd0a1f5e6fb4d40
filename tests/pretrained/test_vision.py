"""Adopted models of images give the vectors of transformers, alone and in a batch, today and after a reload."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from tiny_models import TEXTS
from tiny_vision import KINDS_OF_IMAGE_MODEL, embed_with_transformers, make_image_model, photographs
from torch.nn import functional as F

from jointembed import Index, Space
from jointembed.__main__ import main
from jointembed.errors import UnsafeError, UsageError, UserError
from jointembed.pretrained.huggingface.adopt import convert_model

TWO_TOWERS = ["clip", "siglip"]


@pytest.fixture(scope="module")
def models(tmp_path_factory, one_thread):
    """By kind: the folder, and transformers' model, processor and tokenizer."""
    home = tmp_path_factory.mktemp("vision")
    return {name: (home / name, *make_image_model(name, home / name)) for name in KINDS_OF_IMAGE_MODEL}


@pytest.fixture(scope="module")
def spaces(models):
    return {name: convert_model(folder, name) for name, (folder, *_) in models.items()}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("images"))


def copy_model(models, name, tmp_path, file="config.json", **changes):
    folder = tmp_path / name
    shutil.copytree(models[name][0], folder)
    settings = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in settings.items() if value != "absent"}))
    return folder


def pixels(space, path):
    encoder = space.encoder("image")
    return (torch.from_numpy(encoder.reader.preprocess(path)) - encoder.mean) / encoder.std


@pytest.mark.parametrize("name", KINDS_OF_IMAGE_MODEL)
def test_pixels_and_vectors_of_images_equal_those_of_transformers(models, spaces, images, name):
    _, model, processor, _ = models[name]
    expected = []
    for path in images:
        own = processor(PIL.Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
        assert torch.equal(pixels(spaces[name], path), own[0]), path.name
        expected.append(embed_with_transformers(name, model, own)[0])
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    vectors = spaces[name].embed("image", images)
    assert np.abs(vectors - expected / norms).max() <= 1e-5
    assert np.abs(vectors[0] - vectors[1:]).max(1).min() > 1e-3, "the vectors tell images apart"
    raw = spaces[name].embed("image", images, normalize=False)
    assert np.abs(raw - (vectors if name in TWO_TOWERS else expected)).max() <= 1e-5


def test_large_images_of_convnext_are_warped_and_not_cropped(models, images, tmp_path):
    folder = copy_model(models, "convnext", tmp_path, "preprocessor_config.json", size={"shortest_edge": 384})
    processor = type(models["convnext"][2]).from_pretrained(folder)
    own = processor(PIL.Image.open(images[0]), return_tensors="pt")["pixel_values"][0]
    assert own.shape == (3, 384, 384) and torch.equal(pixels(convert_model(folder, "convnext"), images[0]), own)


@pytest.mark.parametrize("name", TWO_TOWERS)
def test_scores_of_texts_and_images_rank_as_the_whole_model(models, spaces, images, name):
    _, model, processor, tokenizer = models[name]
    own = [processor(PIL.Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"] for path in images]
    texts = [*TEXTS, "waltz " * 40]
    # SigLIP was trained with texts of one length.
    padding = {"padding": "max_length", "max_length": 24} if name == "siglip" else {"padding": True, "max_length": 24}
    inputs = tokenizer(texts, truncation=True, return_tensors="pt", return_token_type_ids=False, **padding)
    if name == "siglip":
        del inputs["attention_mask"]
    with torch.inference_mode():
        out = model(pixel_values=torch.cat(own), **inputs)
    space = spaces[name]
    captions, vectors = space.embed("caption", texts), space.embed("image", images)
    assert np.abs(captions - out.text_embeds.numpy()).max() <= 1e-5
    assert np.abs(captions[0] - captions[1:]).max(1).min() > 1e-3, "the vectors tell texts apart"
    assert np.abs(vectors - out.image_embeds.numpy()).max() <= 1e-5
    bias = model.logit_bias if name == "siglip" else 0
    logits = ((out.logits_per_text - bias) / model.logit_scale.exp()).detach().numpy()
    assert np.abs(captions @ vectors.T - logits).max() <= 1e-5


def test_subwords_of_siglip_are_padded_as_its_tokenizer_says(models, spaces, tmp_path):
    ids = list(spaces["siglip"].reader("caption").token_ids("Jazz"))
    assert len(ids) == 24 and ids[-1] == 1 and ids[0] == 0
    second = {"pad_token": {"content": "<unk>"}, "padding_side": "left", "tokenizer_class": "Siglip2Tokenizer"}
    folder = copy_model(models, "siglip", tmp_path, "tokenizer_config.json", **second)
    reader = convert_model(folder, "siglip").reader("caption")
    assert len(reader.token_ids("Jazz")) == 24 and reader.token_ids("Jazz")[0] == 3
    assert reader.token_ids("Jazz") == reader.token_ids("jazz"), "SigLIP 2 reads lower case"
    assert ids != spaces["siglip"].reader("caption").token_ids("jazz")
    (folder / "tokenizer_config.json").unlink()
    assert list(convert_model(folder, "siglip").reader("caption").token_ids("Jazz")) == ids


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2", "convnext"])
def test_vector_does_not_depend_on_its_batch_and_survives_a_reload(spaces, images, tmp_path, name):
    space = spaces[name]
    together = space.embed("image", images)
    assert np.array_equal(np.concatenate([space.embed("image", [path]) for path in images]), together)
    assert np.array_equal(space.embed("image", images[::-1])[::-1], together)
    space.save(tmp_path / "a.ckpt")
    again = Space.load(tmp_path / "a.ckpt")
    assert again.fingerprint == space.fingerprint and np.array_equal(again.embed("image", images), together)
    rough = again.embed("image", images, precision="bfloat16")
    assert not np.array_equal(rough, together) and (rough * together).sum(1).min() > 0.99


def test_training_sees_the_same_vectors_and_gradients_reach_the_network(spaces, images):
    space = spaces["clip"]
    cells = {"image": [images[0], None, images[1]], "caption": [None, TEXTS[0], None]}
    codes = space({column: space.reader(column).encode(cells[column]) for column in space.columns})["image"]
    z = F.normalize(codes.z[codes.present]).detach().numpy()
    assert np.abs(z - space.embed("image", images[:2])).max() <= 1e-5
    codes.z.square().sum().backward()
    gradients = [value.grad for value in space.encoder("image").parameters() if value.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    space.zero_grad(set_to_none=True)


def test_settings_of_a_processor_in_one_file_are_read(models, spaces, tmp_path):
    folder = copy_model(models, "clip", tmp_path)
    own = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": own}))
    assert convert_model(folder, "clip").fingerprint == spaces["clip"].fingerprint


def test_settings_of_older_versions_are_read(models, spaces, tmp_path):
    """Sizes of a single number, feature extractors, and settings that older versions left at their defaults."""
    old = {"size": 18, "crop_size": 16, "feature_extractor_type": "CLIPFeatureExtractor", "do_center_crop": "absent"}
    old |= dict.fromkeys(["image_processor_type", "do_rescale", "rescale_factor", "do_convert_rgb"], "absent")
    folder = copy_model(models, "clip", tmp_path, "preprocessor_config.json", **old)
    assert convert_model(folder, "clip").fingerprint == spaces["clip"].fingerprint
    old = {"size": 16, "image_processor_type": "absent"}
    folder = copy_model(models, "vit", tmp_path, "preprocessor_config.json", **old)
    assert convert_model(folder, "vit").fingerprint == spaces["vit"].fingerprint


@pytest.mark.parametrize("changes", [{"do_normalize": False}, {"rescale_factor": 1 / 127.5}, {"do_rescale": False}])
def test_steps_that_a_processor_leaves_out_are_left_out(models, images, tmp_path, changes):
    folder = copy_model(models, "vit", tmp_path, "preprocessor_config.json", **changes)
    processor = type(models["vit"][2]).from_pretrained(folder)
    own = processor(PIL.Image.open(images[0]), return_tensors="pt")["pixel_values"][0]
    assert (pixels(convert_model(folder, "vit"), images[0]) - own).abs().max() <= 1e-6 * own.abs().max()


@pytest.mark.parametrize(
    ("name", "file", "changes", "words"),
    [
        ("clip", "preprocessor_config.json", {"size": {"longest_edge": 18}}, "so not to one size"),
        ("vit", "preprocessor_config.json", {"size": {"shortest_edge": 16}}, "not cropped to one size"),
        ("clip", "preprocessor_config.json", {"crop_size": 20}, "cannot be cropped to"),
        ("clip", "preprocessor_config.json", {"do_resize": False}, "are not resized"),
        ("clip", "preprocessor_config.json", {"image_processor_type": "DonutImageProcessor"}, "by DonutImageProcessor"),
        ("clip", "preprocessor_config.json", {"image_mean": "absent"}, "it has no 'image_mean'"),
        ("clip", "preprocessor_config.json", {"size": "large"}, "so not to one size"),
        ("clip", "preprocessor_config.json", {"resample": -1}, "unknown filter '-1'"),
        ("vit", "preprocessor_config.json", {"size": 12}, "do not match each other"),
        ("vit", "config.json", {"hidden_size": 12}, "do not match"),
        ("clip", "config.json", {"projection_dim": 12}, "do not match"),
        ("clip", "config.json", {"vision_config": [1]}, "do not match each other"),
    ],
)
def test_settings_that_are_not_supported_are_refused_in_one_line(models, tmp_path, capsys, name, file, changes, words):
    folder = copy_model(models, name, tmp_path, file, **changes)
    code = main(["adopt", str(folder), str(tmp_path / "m.ckpt")])
    error = capsys.readouterr().err
    assert code in (2, 4, 5) and error.count("\n") == 1 and words in error and "Fix: " in error
    assert not (tmp_path / "m.ckpt").exists()


@pytest.mark.parametrize("name", TWO_TOWERS)
def test_text_tower_alone_is_refused_by_its_type(models, tmp_path, name):
    folder = copy_model(models, name, tmp_path, model_type=f"{name}_text_model")
    with pytest.raises(
        UsageError, match=f"{name}_text_model' is not supported. Fix: adopt a model of one of .*{name},"
    ):
        convert_model(folder, name)


def test_missing_processor_and_pickled_weights_are_refused(models, tmp_path):
    folder = copy_model(models, "clip", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match="processor_config.json.*AutoImageProcessor"):
        convert_model(folder, "clip")
    folder = copy_model(models, "vit", tmp_path)
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsafeError, match="pickled"):
        convert_model(folder, "vit")


def test_cells_that_are_not_images_are_refused(spaces, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for cell in ("nowhere.png", 3, tmp_path / "text.png"):
        with pytest.raises(UserError) as error:
            spaces["clip"].embed("image", [cell])
        assert "\n" not in str(error.value)


def test_adopted_clip_searches_images_by_word_and_by_example(models, tmp_path, capsys):
    blocks = np.random.default_rng(1).integers(0, 256, (4, 4, 4, 3), np.uint8)
    rows = []
    for number in range(5):
        PIL.Image.fromarray(blocks[min(number, 3)].repeat(5, 0).repeat(5, 1)).save(tmp_path / f"{number}.png")
        rows.append(
            {"id": f"i{number}", "image": f"{number}.png", "caption": f"Number {number}" if number < 2 else "Waltz"}
        )
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    model, index = str(tmp_path / "clip.ckpt"), str(tmp_path / "images.index")
    assert main(["adopt", str(models["clip"][0]), model]) == 0
    assert "image and caption, 24 dimensions, cosine" in capsys.readouterr().out
    assert main(["index", model, str(tmp_path), index]) == 0
    capsys.readouterr()
    assert main(["similar", index, "i3", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert hits[0]["id"] == "i4" and hits[0]["score"] == pytest.approx(1, abs=1e-5), "the same image"
    assert main(["similar", index, str(tmp_path / "1.png"), "-k1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "i1"
    assert main(["search", index, "a slow waltz", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    with Index.open(index) as opened:
        _, vectors = opened.vectors()
        assert opened.vocabulary("image")[0] == ["number"], "words of the captions, and none of file names"
    scores = vectors @ Space.load(model).embed("caption", ["a slow waltz"])[0]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
