"""SigLIP 2 with images of any aspect ratio gives the vectors of transformers, alone, in a batch and after a reload."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
import transformers
from tiny_models import TEXTS, shaken
from tiny_vision import PATCHES, TEXT, TOWER, photographs
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional as F
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from jointembed import Space
from jointembed.__main__ import main
from jointembed.pretrained.huggingface.adopt import convert_model

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def make_tokenizer(folder):
    """Subwords as Gemma's, with the end mark, and no mask of padding."""
    fast = Tokenizer(models.BPE(unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    fast.normalizer = normalizers.Replace(" ", "▁")
    fast.train_from_iterator(
        [*TEXTS, "JAZZ"], trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    )
    fast.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    fast.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "GemmaTokenizer", "padding_side": "right", "model_input_names": ["input_ids"]}
    marks = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | marks))
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, one_thread):
    """The folder, and transformers' model, image processor and tokenizer."""
    folder = tmp_path_factory.mktemp("siglip2")
    config = transformers.Siglip2Config(
        text_config=TEXT | {"pad_token_id": 0, "max_position_embeddings": 16},
        vision_config=TOWER | {"patch_size": PATCHES["patch_size"], "num_patches": 16},
    )
    model = shaken(transformers.Siglip2Model(config))
    model.save_pretrained(folder)
    processor = Siglip2ImageProcessorPil(patch_size=4, max_num_patches=20, image_mean=[0.4, 0.5, 0.6])
    processor.save_pretrained(folder)
    return folder, model, processor, make_tokenizer(folder)


@pytest.fixture(scope="module")
def space(tiny):
    return convert_model(tiny[0], "siglip2")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def expected(tiny, images):
    """transformers' own outputs, of one image and all texts at a time."""
    _, model, processor, tokenizer = tiny
    texts = tokenizer([*TEXTS, "JAZZ"], padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    assert set(texts) == {"input_ids"}
    with torch.inference_mode():
        captions = F.normalize(model.get_text_features(**texts).pooler_output, dim=-1).numpy()
        vectors = []
        for path in images:
            inputs = processor(PIL.Image.open(path).convert("RGB"), return_tensors="pt")
            out = model.get_image_features(**inputs).pooler_output
            vectors.append(F.normalize(out, dim=-1).numpy()[0])
    return captions, np.stack(vectors)


def test_vectors_of_images_and_texts_equal_those_of_transformers(space, images, expected):
    captions, vectors = space.embed("caption", [*TEXTS, "JAZZ"]), space.embed("image", images)
    assert np.abs(captions - expected[0]).max() <= 1e-5
    assert np.abs(vectors - expected[1]).max() <= 1e-5
    assert np.abs(captions[0] - captions[1:]).max(1).min() > 1e-3, "the vectors tell texts apart"
    assert np.abs(vectors[0] - vectors[1:]).max(1).min() > 1e-3, "the vectors tell images apart"
    assert np.array_equal(captions[-1], captions[TEXTS.index("jazz")]), "it reads lower case"


def test_patches_equal_those_of_transformers_and_keep_the_aspect_ratio(space, tiny, images):
    encoder, grids = space.encoder("image"), set()
    for path in images:
        own = tiny[2](PIL.Image.open(path).convert("RGB"), return_tensors="pt")
        patches = torch.from_numpy(encoder.reader.preprocess(path))
        grid = own["spatial_shapes"][0]
        assert (patches[:, -2:] == grid).all(), path.name
        scaled = ((patches - encoder.mean) / encoder.std)[: grid.prod(), :-2]
        assert (scaled - own["pixel_values"][0][: grid.prod()]).abs().max() <= 1e-6
        grids.add(tuple(grid.tolist()))
    assert len(grids) > 2


@pytest.mark.parametrize("size", [(1, 1000), (3000, 2), (640, 427), (16, 16), (1, 1), (333, 777)])
def test_grid_of_an_image_is_that_of_transformers(space, tiny, size):
    image = PIL.Image.new("RGB", size)
    own = tiny[2](image, return_tensors="pt")["spatial_shapes"][0].tolist()
    assert list(space.reader("image").grid(image.height, image.width)) == own


def test_vector_does_not_depend_on_its_batch_and_survives_a_reload(space, images, expected, tmp_path):
    together = space.embed("image", images)
    assert np.array_equal(np.concatenate([space.embed("image", [path]) for path in images]), together)
    assert np.array_equal(space.embed("image", images[::-1])[::-1], together)
    space.save(tmp_path / "a.ckpt")
    again = Space.load(tmp_path / "a.ckpt")
    assert again.fingerprint == space.fingerprint and np.array_equal(again.embed("image", images), together)
    assert np.abs(again.embed("caption", [*TEXTS, "JAZZ"]) - expected[0]).max() <= 1e-5
    rough = again.embed("image", images, precision="bfloat16")
    assert not np.array_equal(rough, together) and (rough * together).sum(1).min() > 0.99


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("preprocessor_config.json", {"do_resize": False}, "are not resized"),
        ("preprocessor_config.json", {"image_processor_type": "SiglipImageProcessor"}, "by SiglipImageProcessor"),
        ("preprocessor_config.json", {"max_num_patches": 0}, "got 0"),
        ("preprocessor_config.json", {"patch_size": 5}, "do not match"),
        ("config.json", {"vision_config": TOWER | {"vision_use_head": False}}, "an image has no vector"),
    ],
)
def test_settings_that_are_not_supported_are_refused_in_one_line(tiny, tmp_path, capsys, file, changes, words):
    folder = tmp_path / "model"
    shutil.copytree(tiny[0], folder)
    settings = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(settings))
    assert main(["adopt", str(folder), str(tmp_path / "m.ckpt")]) in (2, 4, 5)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and "Fix: " in error
    assert not (tmp_path / "m.ckpt").exists()
