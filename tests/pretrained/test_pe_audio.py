"""PE-AV's audio and text towers give the vectors of transformers, alone, in a batch and after a reload."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import TEXTS, shaken, sound, words

from jointembed import Space
from jointembed.__main__ import main
from jointembed.pretrained.huggingface.adopt import convert_model

RATE, HOP = 1600, 40
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CODEC = {"encoder_hidden_size": 4, "downsampling_ratios": [2, 4, 5], "codebook_dim": 6}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, one_thread):
    """The folder, and transformers' model, feature extractor and tokenizer."""
    folder = tmp_path_factory.mktemp("pe_audio")
    text = LAYERS | {"vocab_size": 300, "hidden_size": 24, "max_position_embeddings": 30, "local_attention": 8}
    tokens = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    config = transformers.PeAudioConfig(
        text_config={"model_type": "modernbert", **text, **tokens},
        audio_config=LAYERS | {"hidden_size": 16, "head_dim": 8, "dac_config": {"model_type": "dac", **CODEC}},
    )
    model = shaken(transformers.PeAudioModel(config))
    model.save_pretrained(folder)
    extractor = transformers.PeAudioFeatureExtractor(sampling_rate=RATE, hop_length=HOP)
    tokenizer = words(folder)
    transformers.PeAudioProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder, model, extractor, tokenizer


@pytest.fixture(scope="module")
def space(tiny):
    return convert_model(tiny[0], "pe_audio")


@pytest.fixture(scope="module")
def sounds():
    """A full window, shorter ones, some of them no whole number of frames, and less than a frame."""
    return [
        {"array": sound(seconds, RATE, seed), "sampling_rate": RATE}
        for seed, seconds in enumerate([10.0, 3.0, 3.01, 0.5, 0.01, 10.0])
    ]


@pytest.fixture(scope="module")
def expected(tiny, sounds):
    """transformers' own vectors of texts and of sounds, one at a time."""
    _, model, extractor, tokenizer = tiny
    captions, vectors = [], []
    with torch.inference_mode():
        for text, cell in zip((TEXTS * 2)[: len(sounds)], sounds, strict=True):
            audio = extractor(cell["array"], sampling_rate=RATE, return_tensors="pt")
            out = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False), **audio)
            captions.append(out.text_audio_embeds.numpy()[0])
            vectors.append(out.audio_embeds.numpy()[0])
    return np.stack(captions)[: len(TEXTS)], np.stack(vectors)


def test_vectors_of_sounds_and_texts_equal_those_of_transformers(space, sounds, expected):
    captions, vectors = space.embed("caption", TEXTS), space.embed("audio", sounds)
    assert np.abs(captions - expected[0]).max() <= 1e-5
    assert np.abs(vectors - expected[1]).max() <= 1e-5
    assert np.abs(captions[0] - captions[1:]).max(1).min() > 1e-3, "the vectors tell texts apart"
    assert np.abs(vectors[0] - vectors[1:]).max(1).min() > 1e-3, "the vectors tell sounds apart"


def test_scores_are_dot_products_as_in_the_training_of_the_model(tiny, space, sounds):
    _, model, extractor, tokenizer = tiny
    audio = extractor(sounds[1]["array"], sampling_rate=RATE, return_tensors="pt")
    inputs = tokenizer(TEXTS[0], return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        logit = model(**inputs, **audio).logits_audio_text
    own = (logit - model.text_audio_logit_bias) / model.text_audio_logit_scale
    score = space.embed("audio", sounds[1:2]) @ space.embed("caption", TEXTS[:1]).T
    assert space.metric == "dot" and score[0, 0] == pytest.approx(own.item(), abs=1e-4)


def test_vector_of_a_longer_sound_is_the_mean_over_its_windows(space, expected):
    parts = [sound(10.0, RATE, 0), sound(10.0, RATE, 5)]
    vector = space.embed("audio", [{"array": np.concatenate(parts), "sampling_rate": RATE}])[0]
    assert np.abs(vector - expected[1][[0, 5]].mean(0)).max() <= 1e-5


def test_vector_does_not_depend_on_its_batch_and_survives_a_reload(space, sounds, expected, tmp_path):
    for column, cells in (("audio", sounds), ("caption", TEXTS)):
        together = space.embed(column, cells)
        assert np.array_equal(np.concatenate([space.embed(column, [cell]) for cell in cells]), together)
    space.save(tmp_path / "a.ckpt")
    again = Space.load(tmp_path / "a.ckpt")
    assert again.fingerprint == space.fingerprint
    assert np.abs(again.embed("caption", TEXTS) - expected[0]).max() <= 1e-5
    assert np.abs(again.embed("audio", sounds) - expected[1]).max() <= 1e-5


@pytest.mark.parametrize(
    "names",
    [
        {"audio_encoder": "audio_model.audio_encoder", "text_model": "text_model"},  # as transformers 5.24 saves them
        {"audio_encoder": "audio_video_encoder.embedder.audio_encoder", "text_model": "audio_model.text_model"},
    ],
)
def test_towers_of_sounds_and_texts_of_a_model_with_videos_are_adopted(tiny, space, sounds, tmp_path, names):
    """Weights that encoders share are stored under one of their names, beside those of the encoder of videos."""
    folder = tmp_path / "model"
    shutil.copytree(tiny[0], folder)
    names = names | {"audio_head": "audio_model.audio_head", "text_audio_head": "audio_model.text_audio_head"}
    weights = {"video_model.video_head.proj.weight": torch.zeros(2, 2)}
    for name, value in load_file(folder / "model.safetensors").items():
        part, _, rest = name.partition(".")
        weights[f"{names.get(part, 'audio_model.' + part)}.{rest}".rstrip(".")] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    own = json.loads((folder / "config.json").read_text())
    config = {"model_type": "pe_audio_video", "architectures": ["PeAudioVideoModel"]}
    config |= {"text_config": own["text_config"], "audio_video_config": {"audio_config": own["audio_config"]}}
    (folder / "config.json").write_text(json.dumps(config))
    adopted = convert_model(folder, "pe-av")
    assert adopted.description.endswith("without its encoder of videos")
    assert np.array_equal(adopted.embed("audio", sounds), space.embed("audio", sounds))
    assert np.array_equal(adopted.embed("caption", TEXTS), space.embed("caption", TEXTS))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["PeAudioFrameLevelModel"]}, "a vector for each frame"),
        ({"text_config": {"model_type": "bert"}}, "read by 'bert'"),
        ({"audio_config": LAYERS | {"hidden_size": 12}}, "do not match"),
        ({"audio_config": {"dac_config": {"codebook_dim": "wide"}}}, "not valid"),
    ],
)
def test_models_that_are_not_supported_are_refused_in_one_line(tiny, tmp_path, capsys, changes, words):
    folder = tmp_path / "model"
    shutil.copytree(tiny[0], folder)
    settings = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings))
    assert main(["adopt", str(folder), str(tmp_path / "m.ckpt")]) in (2, 4, 5)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and "Fix: " in error
    assert not (tmp_path / "m.ckpt").exists()


@pytest.mark.slow
def test_graph_gives_the_vectors_of_torch(tiny, tmp_path):
    from onnx_sounds import compare

    assert compare(convert_model(tiny[0], "pe_audio"), tmp_path / "onnx") <= 1e-5
