"""Adopted models of text give the vectors of sentence-transformers, in any batch."""

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from tiny_models import TEXTS, shaken, words
from torch.nn import functional as F

from jointembed import Space, from_checkpoint
from jointembed.__main__ import main
from jointembed.errors import UnsafeError, UserError
from jointembed.pretrained.huggingface.adopt import convert_model

SMALL = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 1}  # fmt: skip
NETWORKS = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SMALL)),
    "roberta": lambda: transformers.RobertaForMaskedLM(transformers.RobertaConfig(**SMALL)),
    "xlm-roberta": lambda: transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**SMALL)),
    "mpnet": lambda: transformers.MPNetModel(transformers.MPNetConfig(**SMALL)),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=300, dim=16, hidden_dim=32, n_layers=2, n_heads=2, max_position_embeddings=40, pad_token_id=1
        )
    ),
    "modernbert": lambda: transformers.ModernBertModel(
        transformers.ModernBertConfig(
            **SMALL, local_attention=8, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2
        )
    ),
}
LIMITS = dict.fromkeys(("roberta", "xlm-roberta", "mpnet"), 38)  # their positions begin after the padding token
SENTENCES = [*TEXTS, "reel", "a fiddle and a drum in the rain at night " * 9, "sad sad sad sad sad sad sad sad"]
POOLINGS = {
    "cls": lambda h: h[0],
    "max": lambda h: h.max(0).values,
    "mean": lambda h: h.mean(0),
    "mean_sqrt_len_tokens": lambda h: h.sum(0) / len(h) ** 0.5,
    "weightedmean": lambda h: torch.arange(1.0, len(h) + 1) @ h / sum(range(1, len(h) + 1)),
    "lasttoken": lambda h: h[-1],
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory, one_thread):
    """A folder and the network of each architecture, and their tokenizer."""
    place, own = tmp_path_factory.mktemp("texts"), {}
    for name, make in NETWORKS.items():
        shaken(make()).save_pretrained(place / name)
        tokenizer = words(place / name)
        own[name] = place / name, transformers.AutoModel.from_pretrained(place / name).eval()
    return own, tokenizer


def steps(network, tokenizer, text, limit=40):
    """The last layer of a text alone, (T, W)."""
    inputs = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        return network(**inputs).last_hidden_state[0]


def sentence_folder(tmp_path, networks, pooling, general=None, own=None, modules=(), name="bert"):
    """A copy of a folder as sentence-transformers writes it."""
    folder = tmp_path / "sentences"
    folder.mkdir()
    for file in networks[0][name][0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    names = ["Transformer", "Pooling", *modules]
    listed = [
        {"idx": number, "name": str(number), "path": f"{number}_{kind}" if number else "",
         "type": f"sentence_transformers.models.{kind}"}
        for number, kind in enumerate(names)
    ]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(listed))
    for entry in listed[1:]:
        (folder / entry["path"]).mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps(own or {}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(general or {}))
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_vectors_of_a_plain_folder_are_means_over_subwords(networks, name):
    own, tokenizer = networks
    space = convert_model(own[name][0], name)
    assert "the mean over the subwords" in space.description
    expected = torch.stack([steps(own[name][1], tokenizer, text, LIMITS.get(name, 40)).mean(0) for text in SENTENCES])
    z = space.embed("text", SENTENCES)
    assert np.abs(z - F.normalize(expected, dim=-1).numpy()).max() <= 1e-5
    assert np.abs(z[0] - z[1]).max() > 1e-2, "the vectors tell texts apart"
    assert np.array_equal(np.concatenate([space.embed("text", [text]) for text in SENTENCES]), z)
    assert np.array_equal(space.embed("text", 40 * SENTENCES[::-1])[-len(SENTENCES) :][::-1], z)


@pytest.mark.parametrize("old_keys", [False, True])
def test_poolings_and_their_concatenation_equal_their_formulas(networks, tmp_path, old_keys):
    pooling = {"pooling_mode": list(POOLINGS), "embedding_dimension": 16}
    if old_keys:
        pooling = {f"pooling_mode_{name}" + "_tokens" * (name in ("max", "mean", "weightedmean")): True
                   for name in POOLINGS if name != "cls"}  # fmt: skip
        pooling |= {"pooling_mode_cls_token": True, "word_embedding_dimension": 16}
    space = convert_model(sentence_folder(tmp_path, networks, pooling), "all")
    h = [steps(networks[0]["bert"][1], networks[1], text) for text in SENTENCES]
    expected = torch.stack([torch.cat([pool(part) for pool in POOLINGS.values()]) for part in h])
    assert np.abs(space.embed("text", SENTENCES) - F.normalize(expected, dim=-1).numpy()).max() <= 1e-5
    assert space.dim == 96 and "mean" not in space.description


def test_dense_layers_similarity_lower_case_and_length_are_those_of_the_folder(networks, tmp_path):
    folder = sentence_folder(
        tmp_path,
        networks,
        {"pooling_mode_mean_tokens": True},
        {"similarity_fn_name": "dot"},
        {"max_seq_length": 9, "do_lower_case": True},
        ("Dense", "Normalize"),
    )
    settings = {"in_features": 16, "out_features": 50, "bias": True}
    settings["activation_function"] = "torch.nn.modules.activation.Tanh"
    (folder / "2_Dense" / "config.json").write_text(json.dumps(settings))
    linear = torch.nn.Linear(16, 50)
    save_file({f"linear.{key}": value for key, value in linear.state_dict().items()},
              folder / "2_Dense" / "model.safetensors")  # fmt: skip
    space = convert_model(folder, "dense")
    assert (space.dim, space.metric) == (50, "dot")
    h = torch.stack([steps(networks[0]["bert"][1], networks[1], text, 9).mean(0) for text in SENTENCES])
    expected = F.normalize(torch.tanh(linear(h)), dim=-1).detach().numpy()
    assert np.abs(space.embed("text", [text.upper() for text in SENTENCES]) - expected).max() <= 1e-5
    alone = np.concatenate([space.embed("text", [text]) for text in SENTENCES])
    assert np.array_equal(alone, space.embed("text", SENTENCES))
    space.save(tmp_path / "m.ckpt")
    assert np.array_equal(Space.load(tmp_path / "m.ckpt").embed("text", SENTENCES), space.embed("text", SENTENCES))


def test_queries_have_a_prompt_of_their_own(networks, tmp_path):
    general = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    space = convert_model(sentence_folder(tmp_path, networks, {"pooling_mode": "mean"}, general), "e5")
    assert list(space.columns) == ["text", "query"] and len(list(space.encoders)) == 1
    space.save(tmp_path / "m.ckpt")
    space = Space.load(tmp_path / "m.ckpt")
    for column, prompt in (("query", "query: "), ("text", "passage: ")):
        h = [steps(networks[0]["bert"][1], networks[1], prompt + text).mean(0) for text in SENTENCES]
        expected = F.normalize(torch.stack(h), dim=-1).numpy()
        assert np.abs(space.embed(column, SENTENCES) - expected).max() <= 1e-5


def test_fine_tuning_begins_with_the_prompt_of_its_column(networks, tmp_path):
    general = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    space = convert_model(sentence_folder(tmp_path, networks, {"pooling_mode": "mean"}, general), "e5")
    space.save(tmp_path / "m.ckpt")
    own = Space(space.dim, {"text": from_checkpoint(str(tmp_path / "m.ckpt"), "query")})
    own.build()
    own.save(tmp_path / "own.ckpt")
    for tuned in (own, Space.load(tmp_path / "own.ckpt")):
        assert np.array_equal(tuned.embed("text", SENTENCES), space.embed("query", SENTENCES))


def test_search_embeds_its_words_with_the_query_prompt(networks, tmp_path, capsys):
    general = {"prompts": {"query": "jazz jazz jazz jazz ", "document": ""}}
    folder, model = sentence_folder(tmp_path, networks, {"pooling_mode": "mean"}, general), str(tmp_path / "m.ckpt")
    assert main(["adopt", str(folder), model]) == 0
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in TEXTS))
    index = str(tmp_path / "i.index")
    assert main(["index", model, str(tmp_path / "rows.jsonl"), index]) == 0
    capsys.readouterr()
    assert main(["search", index, "waltz", "--json"]) == 0
    hits = {hit["id"]: hit["score"] for hit in json.loads(capsys.readouterr().out)}
    space = Space.load(model)
    scores = space.embed("text", TEXTS) @ space.embed("query", ["waltz"])[0]
    assert hits == pytest.approx(dict(zip(TEXTS, scores.tolist(), strict=True)), abs=1e-5)


def test_default_prompt_is_that_of_texts_and_queries(networks, tmp_path):
    general = {"prompts": {"topic": "sad: "}, "default_prompt_name": "topic"}
    space = convert_model(sentence_folder(tmp_path, networks, {"pooling_mode": "cls"}, general), "topics")
    assert list(space.columns) == ["text"]
    expected = F.normalize(steps(networks[0]["bert"][1], networks[1], "sad: jazz")[0], dim=-1)
    assert np.abs(space.embed("text", ["jazz"])[0] - expected.numpy()).max() <= 1e-5


@pytest.mark.parametrize(
    ("pooling", "general", "modules", "wrong"),
    [
        ({"pooling_mode": "attention"}, {}, (), "the pooling attention is not supported"),
        ({"include_prompt": False}, {"prompts": {"query": "q: "}}, (), "left out of the pooling"),
        ({}, {"similarity_fn_name": "manhattan"}, (), "the similarity manhattan is not supported"),
        ({}, {}, ("LSTM",), "the modules Transformer, Pooling, LSTM are not supported"),
        ({}, {}, ("Normalize", "Dense"), "Normalize, Dense are not supported"),
        ({"auto_map": {"A": "b.C"}}, {}, (), "names code of its own"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(networks, tmp_path, pooling, general, modules, wrong):
    folder = sentence_folder(tmp_path, networks, pooling, general, None, modules)
    with pytest.raises(UserError, match=wrong) as error:
        convert_model(folder, "x")
    assert "\n" not in str(error.value) and "Fix: " in str(error.value)


@pytest.mark.parametrize("change", [{"type": "evil.models.Transformer"}, {"path": "../elsewhere"}, {"path": "/etc"}])
def test_modules_with_code_or_outside_of_the_folder_are_refused(networks, tmp_path, change):
    folder = sentence_folder(tmp_path, networks, {})
    modules = json.loads((folder / "modules.json").read_text())
    modules[1] |= change
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsafeError):
        convert_model(folder, "x")


def test_training_gives_the_same_vectors_and_gradients(networks, tmp_path):
    general = {"prompts": {"query": "q: ", "document": ""}}
    space = convert_model(sentence_folder(tmp_path, networks, {"pooling_mode": "mean"}, general), "x")
    cells = {"query": SENTENCES, "text": SENTENCES[::-1]}
    codes = space({column: space.reader(column).encode(cells[column]) for column in space.columns})
    for column in space.columns:
        z = F.normalize(codes[column].z, dim=-1).detach().numpy()
        assert np.abs(z - space.embed(column, cells[column])).max() <= 1e-5
    assert torch.equal(codes["query"].row_keys, codes["text"].row_keys.flip(0)), (
        "equal texts have equal keys, whatever their prompts"
    )
    codes["text"].z.square().sum().backward()
    assert all(value.grad is not None for name, value in space.named_parameters() if "layer.1" in name)
