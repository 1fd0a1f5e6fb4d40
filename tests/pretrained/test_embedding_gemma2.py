"""EmbeddingGemma 2 gives the vectors of transformers for texts, images and sounds, from one network in a checkpoint."""

import json
import shutil

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import TEXTS, shaken, sound
from tiny_vision import photographs
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional as F
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from jointembed import JointEmbedding, Space, from_checkpoint
from jointembed.__main__ import main
from jointembed.pretrained.huggingface.adopt import convert_model
from jointembed.sharing import onnx_graphs
from jointembed.sharing.onnx_space import OnnxSpace
from jointembed.space import golden

RATE = 1600
MEDIA = ["image", "audio"]
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|video|>", "<|image>", "<image|>", "<|audio>", "<audio|>"]
SPECIAL += ["<|image|>", "<|audio|>"]
MARKS = dict(zip(("boi", "eoi", "boa", "eoa", "image", "audio"), SPECIAL[6:], strict=True))
LONG = "a fast reel in the rain, played by two fiddles and a drum, " * 4  # longer than the window of its attention
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
TEXT = {
    "vocab_size": 200,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "global_head_dim": 12,
    "sliding_window": 6,
    "sliding_window_pattern": 3,
    "hidden_size_per_layer_input": 8,
    "embedding_dim": 24,
}
VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pooling_kernel_size": 2,
    "patch_size": 4,
    "position_embedding_size": 300,
}
AUDIO = {
    "model_type": "gemma4_audio",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "subsampling_conv_channels": [8, 4],
    "output_proj_dims": 12,
    "attention_chunk_size": 4,
    "attention_context_left": 5,
}


def make_tokenizer(folder):
    """Subwords as Gemma's, with its marks of images and sounds."""
    fast = Tokenizer(models.BPE(unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    fast.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    fast.train_from_iterator([*TEXTS, *PROMPTS.values()], trainer)
    fast.post_processor = processors.TemplateProcessing("<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        extra_special_tokens={f"{name}_token": token for name, token in MARKS.items()},
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, one_thread):
    """The folder, and transformers' model and processor."""
    folder = tmp_path_factory.mktemp("embedding_gemma2")
    tokenizer = make_tokenizer(folder)
    ids = {f"{name}_token_id": SPECIAL.index(token) for name, token in MARKS.items()}
    config = transformers.EmbeddingGemma2Config(
        text_config=TEXT,
        vision_config=VISION,
        audio_config=AUDIO,
        video_token_id=5,
        eoa_token_index=ids.pop("eoa_token_id"),
        **ids,
    )
    model = shaken(transformers.EmbeddingGemma2Model(config))
    model.save_pretrained(folder)
    processor = transformers.EmbeddingGemma2Processor(
        transformers.Gemma4AudioFeatureExtractor(feature_size=8, sampling_rate=RATE, max_frequency=RATE / 2),
        Gemma4ImageProcessorPil(patch_size=4, pooling_kernel_size=2, max_soft_tokens=70),
        tokenizer,
        transformers.EmbeddingGemma2VideoProcessor(),
    )
    processor.save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    names = [{"path": path or ".", "type": f"sentence_transformers.base.modules.{name}"} for path, name in modules]
    (folder / "modules.json").write_text(json.dumps(names))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": PROMPTS}))
    return folder, model, processor


@pytest.fixture(scope="module")
def space(tiny):
    return convert_model(tiny[0], "embedding_gemma2")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """By column: images of several aspect ratios, and sounds of several lengths, from a part of a frame to a window."""
    sounds = [sound(seconds, RATE, seed) for seed, seconds in enumerate([30.0, 3.0, 3.01, 0.5, 0.02, 30.0, 11.0])]
    return {
        "text": [*TEXTS, LONG],
        "query": [*TEXTS, LONG],
        "image": photographs(tmp_path_factory.mktemp("images")),
        "audio": [{"array": samples, "sampling_rate": RATE} for samples in sounds],
    }


@pytest.fixture(scope="module")
def expected(tiny, cells):
    """By column, transformers' own vectors, of one cell at a time."""
    _, model, processor = tiny
    inputs = {
        "text": lambda text: {"text": [PROMPTS["document"] + text]},
        "query": lambda text: {"text": [PROMPTS["query"] + text]},
        "image": lambda path: {"images": [PIL.Image.open(path).convert("RGB")]},
        "audio": lambda cell: {"audio": [cell["array"]]},
    }
    vectors = {}
    for column, own in cells.items():
        rows = []
        for cell in own:
            batch = processor(**inputs[column](cell), return_tensors="pt")
            with torch.inference_mode():
                steps = model(**batch).last_hidden_state[0]
            rows.append(F.normalize(steps[batch["attention_mask"][0] > 0].mean(0), dim=-1).numpy())
        vectors[column] = np.stack(rows)
    return vectors


@pytest.mark.parametrize("column", ["text", "query", *MEDIA])
def test_vectors_equal_those_of_transformers(space, cells, expected, column):
    vectors = space.embed(column, cells[column])
    assert np.abs(vectors - expected[column]).max() <= 1e-5
    assert np.abs(vectors[0] - vectors[1:]).max(1).min() > 1e-3, "the vectors tell cells apart"


@pytest.mark.parametrize("size", [(1, 60), (60, 1), (1, 30_000), (30_000, 1), (640, 427), (16, 16), (8, 8), (333, 777)])
def test_grid_of_an_image_is_that_of_transformers(space, tiny, size):
    image = PIL.Image.new("RGB", size)
    places = tiny[2].image_processor(image, return_tensors="pt")["image_position_ids"][0]
    columns, rows = (places.amax(0) + 1).tolist()
    assert space.reader("image").grid(image.height, image.width) == (rows, columns)


def test_vector_of_a_longer_sound_is_the_mean_over_its_windows(space, expected):
    parts = [sound(30.0, RATE, 0), sound(30.0, RATE, 5)]
    vector = space.embed("audio", [{"array": np.concatenate(parts), "sampling_rate": RATE}], normalize=False)[0]
    assert np.abs(vector - expected["audio"][[0, 5]].mean(0)).max() <= 1e-5


def test_columns_share_one_network_in_memory_and_in_the_checkpoint(tiny, space, tmp_path):
    model = tiny[1]
    assert sum(value.numel() for value in space.parameters()) == sum(value.numel() for value in model.parameters())
    assert len({id(space.encoder(column)) for column in space.columns}) == 1
    space.save(tmp_path / "a.ckpt")
    whole = sum(value.numel() * 4 for value in model.state_dict().values())
    assert (tmp_path / "a.ckpt").stat().st_size < 1.1 * whole + 500_000
    stored = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    assert len(stored) == len(model.state_dict())


@pytest.mark.parametrize("column", ["text", "query", *MEDIA])
def test_vector_does_not_depend_on_its_batch_and_survives_a_reload(space, cells, column, tmp_path):
    own = cells[column]
    together = space.embed(column, own)
    assert np.array_equal(np.concatenate([space.embed(column, [cell]) for cell in own]), together)
    assert np.array_equal(space.embed(column, own[::-1])[::-1], together)
    space.save(tmp_path / "a.ckpt")
    again = Space.load(tmp_path / "a.ckpt")
    assert again.fingerprint == space.fingerprint
    assert np.array_equal(again.embed(column, own), together)


def test_commands_and_an_exported_model_give_the_same_vectors(tiny, space, cells, tmp_path, capsys):
    """Adopted, exported, loaded, indexed and searched: images and sounds are found by words."""
    model, out = tmp_path / "m.ckpt", tmp_path / "out"
    assert main(["adopt", str(tiny[0]), str(model)]) == 0
    assert main(["export", str(model), str(out)]) == 0
    assert (out / "model.safetensors").stat().st_size < 1.1 * model.stat().st_size
    shared = JointEmbedding.from_pretrained(out).space
    for column in space.columns:
        assert np.array_equal(shared.embed(column, cells[column][:2]), space.embed(column, cells[column][:2]))
    rows = [{"id": str(number), "image": str(path)} for number, path in enumerate(cells["image"])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["embed", str(out), str(tmp_path / "rows.jsonl"), str(tmp_path / "z.parquet")]) == 0
    stored = np.stack(pq.read_table(tmp_path / "z.parquet")["vector"].to_pylist())
    assert np.array_equal(stored.astype(np.float32), space.embed("image", cells["image"]))
    (tmp_path / "songs").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "songs" / f"{number}.wav", sound(2 + number, 8000, number), 8000)
    sounds = [str(path) for path in sorted((tmp_path / "songs").iterdir())]
    for source, column, own in (("rows.jsonl", "image", cells["image"]), ("songs", "audio", sounds)):
        index = str(tmp_path / f"{column}.index")
        assert main(["index", str(model), str(tmp_path / source), index]) == 0
        capsys.readouterr()
        assert main(["search", index, TEXTS[1], "--json"]) == 0
        hits = json.loads(capsys.readouterr().out)
        scores = space.embed("query", [TEXTS[1]]) @ space.embed(column, own).T
        assert sorted(hit["score"] for hit in hits) == pytest.approx(sorted(scores[0]), abs=0.03)  # in bfloat16


def change(folder, target, **changes):
    """A copy of the model with other settings."""
    shutil.copytree(folder, target)
    settings = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(settings | changes))
    return target


def test_model_without_its_towers_reads_texts_only(tiny, space, cells, tmp_path):
    folder = change(tiny[0], tmp_path / "text", vision_config=None, audio_config=None)
    weights = load_file(folder / "model.safetensors")
    language = {name: value for name, value in weights.items() if name.startswith("language_model.")}
    save_file(language, folder / "model.safetensors", {"format": "pt"})
    adopted = convert_model(folder, "text")
    assert list(adopted.columns) == ["query", "text"]
    assert np.array_equal(adopted.embed("text", cells["text"]), space.embed("text", cells["text"]))


def test_folder_of_transformers_without_prompts_has_one_column_of_texts(tiny, cells, tmp_path):
    folder = change(tiny[0], tmp_path / "plain")
    (folder / "modules.json").unlink()
    adopted = convert_model(folder, "plain")
    assert list(adopted.columns) == ["text", *MEDIA] and "mean over the subwords" in adopted.description


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vision_config": VISION | {"model_type": "siglip_vision_model"}}, "of the type 'siglip_vision_model'"),
        ({"image_token_id": 199}, "does not know the marks of image"),
        ({"audio_config": AUDIO | {"hidden_size": 12}}, "do not match"),
        ({"text_config": TEXT | {"hidden_size": "wide"}}, "not valid"),
        ({"text_config": TEXT | {"per_layer_config": {"2": {"_attn_implementation": "a/b"}}}}, "_attn_implementation"),
    ],
)
def test_models_that_are_not_supported_are_refused_in_one_line(tiny, tmp_path, capsys, changes, words):
    folder = change(tiny[0], tmp_path / "model", **changes)
    assert main(["adopt", str(folder), str(tmp_path / "m.ckpt")]) in (2, 4, 5)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and "Fix: " in error
    assert not (tmp_path / "m.ckpt").exists()


def test_fine_tuning_of_images_reads_them_as_the_adopted_model(space, cells, tmp_path):
    space.save(tmp_path / "a.ckpt")
    own = Space(space.dim, {"photo": from_checkpoint(str(tmp_path / "a.ckpt"), "image")})
    own.build()
    assert np.array_equal(own.embed("photo", cells["image"]), space.embed("image", cells["image"]))
    own.save(tmp_path / "b.ckpt")
    again = Space.load(tmp_path / "b.ckpt")
    assert np.array_equal(again.embed("photo", cells["image"]), space.embed("image", cells["image"]))


def test_gradients_reach_the_whole_network_from_every_column(tiny, space, cells):
    space = convert_model(tiny[0], "embedding_gemma2").train()
    batch = {column: space.reader(column).encode([*cells[column][:2], None]) for column in space.columns}
    encoded = space(batch)
    for column in MEDIA:
        z = encoded[column].z[:2].detach().numpy()
        assert np.abs(z - space.embed(column, cells[column][:2])).max() <= 1e-5
    sum((z.z[:2] * torch.arange(space.dim)).sum() for z in encoded.values()).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in space.parameters())
    nothing = space({column: space.reader(column).encode([None, None]) for column in space.columns})
    assert all(z.z.shape == (2, space.dim) and not z.present.any() for z in nothing.values())


@pytest.mark.slow
def test_graph_of_texts_gives_the_vectors_of_torch_and_images_are_left_out(tiny, cells, tmp_path):
    space = convert_model(tiny[0], "embedding_gemma2")
    space.columns = {column: space.columns[column] for column in ("text", "image")}
    results = onnx_graphs.write_graphs(space, golden.compute(space), tmp_path / "onnx")
    assert [bool(result.refusal) for result in results] == [False, True]
    onnx = OnnxSpace.load(tmp_path / "onnx")
    assert np.abs(onnx.embed("text", cells["text"]) - space.embed("text", cells["text"])).max() <= 1e-5


@pytest.mark.slow
def test_graph_of_sounds_gives_the_vectors_of_torch(tiny, tmp_path):
    from onnx_sounds import compare

    assert compare(convert_model(tiny[0], "embedding_gemma2"), tmp_path / "onnx") <= 1e-5
