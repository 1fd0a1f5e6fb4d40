"""Conversion of Hugging Face models: old, damaged and hostile files. No code of a model is ever run."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import fresh
from tokenizers import Tokenizer as Fast

from jointembed import Space
from jointembed.__main__ import main
from jointembed.cli.adopt import local
from jointembed.errors import DamagedError, MismatchError, UnsafeError, UsageError
from jointembed.pretrained.huggingface.adopt import convert_model
from jointembed.pretrained.huggingface.audio import PretrainedAudioEncoder
from jointembed.pretrained.huggingface.audio_features import Wav2Vec2Features
from jointembed.pretrained.huggingface.encoder import PretrainedEncoder


def copy_model(home, tmp_path, name="clap", **changes):
    """A copy of a model's folder with other settings."""
    folder = tmp_path / name
    shutil.copytree(home[0] / name, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_half_precision_becomes_float32(home, tmp_path):
    """transformers 5 keeps the type that weights are stored in."""
    folder = copy_model(home, tmp_path, "ast", dtype="float16", torch_dtype="bfloat16")
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    space = convert_model(folder, "ast")
    assert {value.dtype for value in space.parameters()} == {torch.float32}
    space.save(tmp_path / "a.ckpt")
    assert {value.dtype for value in Space.load(tmp_path / "a.ckpt").parameters()} == {torch.float32}


def test_subwords_come_from_tokenizer_json_and_no_other_file(home, tmp_path, spaces):
    folder = copy_model(home, tmp_path)
    golden = Fast.from_file(str(folder / "tokenizer.json")).encode("a slow waltz").ids
    assert golden[0] == 0 and golden[-1] == 2
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"tokenizer_class": "BertTokenizer", "auto_map": {"AutoTokenizer": "evil.Evil"}}))
    space = convert_model(folder, "clap")
    assert list(space.reader("caption").token_ids("a slow waltz")) == golden
    text = json.loads((folder / "tokenizer.json").read_text())
    text |= {"padding": {"strategy": {"Fixed": 30}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                         "pad_type_id": 0, "pad_token": "<pad>"}}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(text))
    assert list(convert_model(folder, "clap").reader("caption").token_ids("a slow waltz")) == golden
    text["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(text))
    lowercase = convert_model(folder, "clap")
    assert lowercase.fingerprint != space.fingerprint == spaces["clap"].fingerprint


def test_networks_are_classes_of_transformers_and_load_nothing_when_built(home, spaces, monkeypatch):
    """A subclass of PreTrainedModel would reinitialise its weights, and a constructor must not load a model."""
    assert not issubclass(PretrainedEncoder, transformers.PreTrainedModel)
    spaces["wavlm"].encoder("audio")
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", None)
    for name, space in spaces.items():
        encoder = space.encoder("audio")
        with torch.device("meta"):
            type(encoder)(**encoder._init_args).build(space.dim)
        assert type(encoder.network).__module__.startswith("transformers.models."), name
        buffers = {key for key, _ in encoder.network.named_buffers()} - set(encoder.network.state_dict())
        twin = type(encoder.network)(encoder.config)
        for key in buffers:
            assert torch.equal(encoder.network.get_buffer(key), twin.get_buffer(key)), (name, key)


def test_weights_under_old_names_are_loaded(home, tmp_path, spaces):
    folder = copy_model(home, tmp_path, "wav2vec2")
    weights = load_file(folder / "model.safetensors")
    old = {key.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"): value for key, value in weights.items()}  # fmt: skip
    assert old.keys() != weights.keys()
    save_file(old, folder / "model.safetensors", {"format": "pt"})
    assert convert_model(folder, "wav2vec2").fingerprint == spaces["wav2vec2"].fingerprint


def test_sharded_weights_are_loaded(home, tmp_path, spaces):
    folder = copy_model(home, tmp_path)
    home[1]["clap"][0].save_pretrained(folder, max_shard_size="50KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert convert_model(folder, "clap").fingerprint == spaces["clap"].fingerprint


def test_settings_of_a_processor_in_one_file_are_read(home, tmp_path, spaces):
    folder = copy_model(home, tmp_path)
    own = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": own}))
    assert convert_model(folder, "clap").fingerprint == spaces["clap"].fingerprint


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"auto_map": {"AutoModel": "modeling_evil.Evil"}}, UnsafeError, "auto_map"),
        ({"audio_config": {"auto_map": {"AutoConfig": "evil.Evil"}}}, UnsafeError, "auto_map"),
        ({"model_type": "mert_model", "auto_map": {"AutoModel": "modeling_MERT.MERTModel"}}, UnsafeError, "never run"),
        ({"model_type": "t5"}, UsageError, "clap, audio-spectrogram-transformer, wav2vec2, hubert, wavlm, whisper"),
        ({"model_type": None}, UsageError, "model_type, the family of the network, is missing"),
        ({"projection_dim": "many"}, UsageError, "projection_dim"),
        ({"projection_dim": 12}, MismatchError, "do not match"),
    ],
)
def test_settings_that_name_code_or_are_not_supported_are_refused(home, tmp_path, changes, kind, words):
    folder = copy_model(home, tmp_path, **changes)
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    with pytest.raises(kind, match=words) as error:
        convert_model(folder, "clap")
    assert "\n" not in str(error.value) and "Fix: " in str(error.value)
    assert not (tmp_path / "canary").exists()


def test_settings_cannot_select_a_kernel_another_model_or_quantisation(home, tmp_path, spaces):
    changes = {"_attn_implementation": "somebody/kernel", "attn_implementation": "some/kernel"}
    changes |= {"quantization_config": {"quant_method": "bitsandbytes"}, "_name_or_path": "somebody/model"}
    changes |= {"base_model_name_or_path": "somebody/model", "transformers_weights": "evil.bin"}
    folder = copy_model(home, tmp_path, "wavlm", **changes)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/model"}))
    space = convert_model(folder, "wavlm")
    assert space.fingerprint == spaces["wavlm"].fingerprint
    words = json.dumps(space.encoder("audio")._init_args["config"])
    assert "somebody" not in words and "kernel/" not in words and "evil" not in words
    hostile = PretrainedAudioEncoder.architectures["wavlm"].make_config(
        {"_attn_implementation": "some/kernel", "auto_map": {}, "hidden_size": 16}
    )
    assert hostile._attn_implementation != "some/kernel" and not hasattr(hostile, "auto_map")
    with pytest.raises(UsageError, match="unknown architecture"):
        PretrainedAudioEncoder(Wav2Vec2Features({}), "os.system", {})


def test_weights_are_read_from_safetensors_alone(home, tmp_path):
    folder = copy_model(home, tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsafeError, match=r"pickled.*save_pretrained"):
        convert_model(folder, "clap")
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match="safetensors only"):
        convert_model(folder, "clap")
    (folder / "model.safetensors").write_bytes(whole[:5000])
    with pytest.raises(DamagedError, match="damaged"):
        convert_model(folder, "clap")
    index = {"weight_map": {"a": "../../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsafeError, match="outside"):
        convert_model(folder, "clap")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, "modules.json"),
        ("config.json", "{", "not JSON"),
        ("tokenizer.json", None, "text cannot be read"),
        ("tokenizer.json", "{}", "not a tokenizer"),
        ("preprocessor_config.json", None, "the model is incomplete"),
        ("preprocessor_config.json", '{"feature_size": "many"}', "do not match each other"),
        ("config.json", '{"model_type": "clap", "text_config": [1]}', "do not match each other"),
        ("config.json", '{"model_type": ["clap"]}', "model_type, the family of the network, is missing"),
        ("config.json", '{"architectures": ["ClapModel"]}', "model_type, the family of the network, is missing"),
        ("config.json", '{"model_type": "t6"}', "'t6' is not supported"),
        ("preprocessor_config.json", '{"truncation": "fusion"}', "do not match each other"),
    ],
)
def test_missing_and_damaged_files_are_reported_in_one_line(home, tmp_path, capsys, name, content, words):
    folder = copy_model(home, tmp_path)
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    code = main(["adopt", str(folder), str(tmp_path / "m.ckpt")])
    error = capsys.readouterr().err
    assert code in (2, 4, 5) and error.count("\n") == 1 and words in error and "Fix: " in error
    assert not (tmp_path / "m.ckpt").exists()


def test_existing_model_is_not_overwritten(home, tmp_path, capsys):
    assert main(["adopt", str(home[0] / "ast"), str(tmp_path / "run")]) == 0
    assert main(["adopt", str(home[0] / "ast"), str(tmp_path / "run")]) == 2
    assert "a model exists there already" in capsys.readouterr().err


@pytest.mark.slow
def test_hub_is_asked_only_for_names_of_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in ("nowhere", "./no/where", "/no/where", "a/b/c", f"{tmp_path}/model", "../x"):
        with pytest.raises(UsageError, match="this folder does not exist"):
            local(source)
    (tmp_path / "models").mkdir()
    with pytest.raises(UsageError, match="this folder does not exist.*save_pretrained"):
        local("models/clap")
    script = """
        from jointembed.__main__ import main
        raise SystemExit(main(["adopt", "laion/clap-htsat-unfused", "there"]))
    """
    process = fresh(script, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))
    assert process.returncode == 2 and "the Hub has no model" in process.stderr and "go online" in process.stderr
    assert process.stderr.count("\n") == 1 and not (tmp_path / "there").exists()
