"""Adopted models give what transformers gives, from the checkpoint alone, and run nothing of anybody's."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Fast
from tokenizers import models, pre_tokenizers, processors, trainers
from torch.nn import functional as F

from jointembed import Index, JointEmbedding
from jointembed.__main__ import main
from jointembed.commands.adopt import local
from jointembed.errors import Damaged, Failure, Mismatch, Unsafe, Usage
from jointembed.learn.adopt import adopted
from jointembed.learn.pretrained import KINDS, Pretrained, configured
from jointembed.learn.readers.tokenizer import Tokenizer
from jointembed.learn.readers.waveform import ClapMel, FilterBank, Waveform, WhisperMel

TEXTS = ["a slow waltz", "fast reel in the rain, played by two fiddles and a drum", "jazz", "blues at night, sad"]
WAVES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
KINDS_OF_MODEL = ["clap", "fused", "ast", "wav2vec2", "hubert", "wavlm", "whisper"]


def sound(seconds, rate, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def words(folder):
    """A tiny fast tokenizer, as RoBERTa's."""
    fast = Fast(models.BPE(unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))  # fmt: skip
    fast.train_from_iterator(TEXTS, trainer)
    fast.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    made.save_pretrained(folder)
    return made


def clap(fused):
    audio = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "patch_embeds_hidden_size": 16,
        "patch_size": 2,
        "patch_stride": 2,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "spec_size": 64,
        "num_mel_bins": 16,
        "window_size": 4,
        "projection_dim": 24,
        "enable_fusion": fused,
        "aff_block_r": 2,
    }
    text = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 40, "projection_dim": 24}  # fmt: skip
    extractor = transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=1, fft_window_size=256, frequency_max=4000,
        truncation="fusion" if fused else "rand_trunc",
    )  # fmt: skip
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    return transformers.ClapModel(config), extractor


def made(name):
    """A tiny model with random weights, and its feature extractor; slow rates make short windows."""
    plain = transformers.Wav2Vec2FeatureExtractor
    if name in ("clap", "fused"):
        return clap(name == "fused")
    if name == "ast":
        config = transformers.ASTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                        intermediate_size=32, max_length=64, num_mel_bins=32)  # fmt: skip
        return transformers.ASTForAudioClassification(config), transformers.ASTFeatureExtractor(
            num_mel_bins=32, max_length=64
        )
    if name == "wav2vec2":
        return transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**WAVES, vocab_size=32)), plain(
            sampling_rate=1600
        )
    if name == "hubert":
        config = transformers.HubertConfig(
            **WAVES, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True
        )
        return transformers.HubertModel(config), plain(do_normalize=False, sampling_rate=2400)
    if name == "wavlm":
        return transformers.WavLMModel(transformers.WavLMConfig(**WAVES)), plain(sampling_rate=1600)
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=100, num_mel_bins=20, max_source_positions=100,
        pad_token_id=1, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    return transformers.WhisperForConditionalGeneration(config), transformers.WhisperFeatureExtractor(
        feature_size=20, chunk_length=2
    )


def shaken(model):
    """Weights and running statistics away from where they begin, where halves of a model give the same anywhere."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(
                    torch.randn_like(value).abs() * 0.2 if "running_var" in name else torch.randn_like(value) * 0.2
                )
    return model.eval()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks as small as these only wait for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder a model, as `save_pretrained` writes it, and transformers' own objects."""
    folder = tmp_path_factory.mktemp("models")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    own = {}
    for name in KINDS_OF_MODEL:
        model, extractor = made(name)
        shaken(model).save_pretrained(folder / name)
        extractor.save_pretrained(folder / name)
        own[name] = (model, extractor, words(folder / name) if name in ("clap", "fused") else None)
    return folder, own


@pytest.fixture(scope="module")
def spaces(home):
    return {name: adopted(home[0] / name, name) for name in KINDS_OF_MODEL}


def rate(space):
    return space.reader("audio").sample_rate


def theirs(name, model, extractor, samples):
    """What transformers gives for one sound that is no longer than a window, by its documented way."""
    inputs = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    with torch.inference_mode():
        if name in ("clap", "fused"):
            inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)  # alone, its extractor says at random that it is
            out = model.get_audio_features(**inputs)
            out = getattr(out, "pooler_output", out)
        elif name == "ast":
            out = model.audio_spectrogram_transformer(**inputs).pooler_output
        elif name == "whisper":
            steps = model.model.encoder(inputs["input_features"]).last_hidden_state
            out = steps[:, : -(-len(samples) // 320)].mean(1)  # two hops a step
        else:
            out = getattr(model, model.base_model_prefix)(**inputs) if name == "wav2vec2" else model(**inputs)
            out = out.last_hidden_state.mean(1)
    return F.normalize(out, dim=-1).numpy()[0]


SECONDS = {"clap": 1.0, "fused": 1.0, "ast": 0.655, "whisper": 2.0}


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_a_sound_has_the_vector_that_transformers_gives(home, spaces, name):
    model, extractor, _ = home[1][name]
    space = spaces[name]
    full = SECONDS.get(name, 10.0)
    vectors = []
    for share in (0.1, 0.37, 0.9999, 1.0):
        samples = sound(full, rate(space))[: round(full * share * rate(space))]
        vectors.append(theirs(name, model, extractor, samples))
        assert np.abs(space.embed("audio", [samples])[0] - vectors[-1]).max() <= 1e-5, share
    assert np.abs(vectors[0] - vectors[-1]).max() > 1e-3, "the vectors tell sounds apart"
    assert space.dim == len(vectors[0]) and isinstance(space.projections["audio"], torch.nn.Identity)


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_a_long_sound_is_the_mean_of_its_windows_and_nothing_is_random(home, spaces, name):
    model, extractor, _ = home[1][name]
    space, reader = spaces[name], spaces[name].reader("audio")
    span = reader.span
    samples = sound(2.7 * span / rate(space), rate(space), 1)
    windows = [samples[:span], samples[span : 2 * span], samples[2 * span :]]
    with torch.inference_mode():
        h = space.encoder("audio").pieces(reader.encode([samples]))
    expected = [theirs(name, model, extractor, one) for one in windows]
    assert np.abs(F.normalize(h, dim=-1).numpy() - expected).max() <= 1e-5
    mean = F.normalize(h.mean(0), dim=-1).numpy()
    assert np.abs(space.embed("audio", [samples])[0] - mean).max() <= 1e-6
    assert np.array_equal(space.embed("audio", [samples]), space.embed("audio", [samples]))
    assert len(reader.pieces(samples[: int(2.4 * span)])) == 2, "a short rest is left out"
    assert len(reader.windows(samples, 1)) == 1
    assert np.array_equal(reader.windows(samples, 1)[0], reader.pieces(samples)[1])


@pytest.mark.parametrize("name", ["clap", "fused"])
def test_words_have_the_vector_that_transformers_gives(home, spaces, name):
    model, _, tokenizer = home[1][name]
    for texts in ([TEXTS[0]], TEXTS):
        inputs = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            out = model.get_text_features(**inputs)
        expected = F.normalize(getattr(out, "pooler_output", out), dim=-1).numpy()
        assert np.abs(spaces[name].embed("caption", texts) - expected).max() <= 1e-5
    long = spaces[name].embed("caption", ["jazz " * 200])
    assert np.isfinite(long).all(), "a text of more sub-words than the model has places is cut"


def test_the_score_of_words_and_sounds_is_claps_own(home, spaces):
    model, extractor, tokenizer = home[1]["clap"]
    sounds = [sound(1.0, 8000, n) for n in range(3)]
    inputs = extractor(sounds, sampling_rate=8000, return_tensors="pt")
    texts = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        logits = model(**inputs, **texts).logits_per_audio / model.logit_scale_a.exp()
    space = spaces["clap"]
    scores = space.embed("audio", sounds) @ space.embed("caption", TEXTS).T
    assert np.abs(scores - logits.numpy()).max() <= 1e-5


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_a_vector_does_not_depend_on_its_neighbours(spaces, name):
    space = spaces[name]
    sounds = [sound(seconds, rate(space), n) for n, seconds in enumerate([0.3, 1.1, 0.02, 2.3, 0.7])]
    together = space.embed("audio", sounds)
    assert np.array_equal(np.concatenate([space.embed("audio", [one]) for one in sounds]), together)
    assert np.array_equal(space.embed("audio", sounds[::-1])[::-1], together)
    if "caption" in space.columns:
        texts = space.embed("caption", TEXTS)
        assert np.array_equal(np.concatenate([space.embed("caption", [one]) for one in TEXTS]), texts)


def test_copies_that_fill_up_a_batch_are_not_computed(spaces):
    for name in ("ast", "wav2vec2"):
        calls = []
        hook = spaces[name].encoder("audio").network.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        spaces[name].embed("audio", [sound(0.5, rate(spaces[name]))])
        hook.remove()
        assert len(calls) == 1


AUDIT = """
import sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "os.system"):
        raise SystemExit(f"{event} {args}")
sys.addaudithook(watch)
"""


def fresh(script, **more):
    """Run a script in a process of its own, in which any connection ends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    return subprocess.run([sys.executable, "-c", AUDIT + textwrap.dedent(script)], capture_output=True, text=True,
                          env=environment | {"OMP_NUM_THREADS": "1"} | more)  # fmt: skip


def test_fresh_processes_give_the_same_bits_without_the_source_or_the_network(home, tmp_path):
    """Also adopting itself: it makes no connection, and buffers that no file holds are as they should be."""
    sources = tmp_path / "sources"
    shutil.copytree(home[0], sources)
    script = f"""
        from jointembed.__main__ import main
        for name in {KINDS_OF_MODEL!r}:
            assert main(["adopt", {str(sources)!r} + "/" + name, {str(tmp_path)!r} + "/" + name]) == 0
    """
    done = fresh(script)
    assert done.returncode == 0, done.stderr
    assert "next: jointembed index" in done.stdout and "LOAD REPORT" not in done.stderr
    shutil.rmtree(sources)
    expected = {}
    for name in KINDS_OF_MODEL:
        space = JointEmbedding.load(tmp_path / name)
        vectors = {"audio": space.embed("audio", [sound(1.3, rate(space))])}
        if "caption" in space.columns:
            vectors["caption"] = space.embed("caption", TEXTS)
        expected[name] = {column: one.tolist() for column, one in vectors.items()} | {"is": space.fingerprint}
        assert space.note.startswith(f"adopted from {name} (")
        again = JointEmbedding.load(tmp_path / name)
        assert all(np.array_equal(again.embed("audio", [sound(1.3, rate(space))]), vectors["audio"]) for _ in range(2))
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    script = f"""
        import json
        import numpy as np
        from jointembed import JointEmbedding
        for name, known in json.load(open({str(tmp_path / "expected.json")!r})).items():
            space = JointEmbedding.load({str(tmp_path)!r} + "/" + name)
            rate = space.reader("audio").sample_rate
            samples = np.random.default_rng(0).normal(0, 0.1, round(1.3 * rate)).astype(np.float32)
            assert np.array_equal(space.embed("audio", [samples]), np.array(known["audio"], np.float32)), name
            if "caption" in known:
                assert np.array_equal(space.embed("caption", {TEXTS!r}), np.array(known["caption"], np.float32)), name
            assert space.fingerprint == known["is"], name
        print("the same")
    """
    done = fresh(script, HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and "the same" in done.stdout, done.stderr


def test_an_adopted_model_finds_songs_by_sound_and_by_words(home, tmp_path, capsys):
    rows = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", sound(1.5, 8000, number % 3), 8000)
        rows.append({"id": f"s{number}", "audio": f"{number}.wav", "title": f"Tune {number}"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    model, index = str(tmp_path / "clap.ckpt"), str(tmp_path / "songs.index")
    assert main(["adopt", str(home[0] / "clap"), model]) == 0
    assert "adopted from clap (ClapModel); audio and caption, 24 dimensions, cosine" in capsys.readouterr().out
    assert main(["index", model, str(tmp_path), index]) == 0
    capsys.readouterr()
    assert main(["similar", index, "s0", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert hits[0]["id"] == "s3" and hits[0]["score"] == pytest.approx(1, abs=1e-5), "the same sound"
    assert main(["similar", index, str(tmp_path / "1.wav"), "-k1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "s1"
    assert main(["search", index, "a slow waltz", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    space = JointEmbedding.load(model)
    with Index.open(index) as opened:
        ids, vectors = opened.vectors()
    scores = vectors @ space.embed("caption", ["a slow waltz"])[0]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)


# -- traps -------------------------------------------------------------------------------------------------------------


def copied(home, tmp_path, name="clap", **changes):
    """A copy of a model's folder with other settings."""
    folder = tmp_path / name
    shutil.copytree(home[0] / name, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_half_precision_becomes_float32(home, tmp_path):
    """transformers 5 keeps the type that weights are stored in."""
    folder = copied(home, tmp_path, "ast", dtype="float16", torch_dtype="bfloat16")
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    space = adopted(folder, "ast")
    assert {value.dtype for value in space.parameters()} == {torch.float32}
    space.save(tmp_path / "a.ckpt")
    assert {value.dtype for value in JointEmbedding.load(tmp_path / "a.ckpt").parameters()} == {torch.float32}


def test_sub_words_are_those_of_tokenizer_json_whatever_stands_beside_it(home, tmp_path, spaces):
    folder = copied(home, tmp_path)
    golden = Fast.from_file(str(folder / "tokenizer.json")).encode("a slow waltz").ids
    assert golden[0] == 0 and golden[-1] == 2
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"tokenizer_class": "BertTokenizer", "auto_map": {"AutoTokenizer": "evil.Evil"}}))
    space = adopted(folder, "clap")
    assert list(space.reader("caption").numbers("a slow waltz")) == golden
    text = json.loads((folder / "tokenizer.json").read_text())
    text |= {"padding": {"strategy": {"Fixed": 30}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                         "pad_type_id": 0, "pad_token": "<pad>"}}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(text))
    assert list(adopted(folder, "clap").reader("caption").numbers("a slow waltz")) == golden
    text["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(text))
    other = adopted(folder, "clap")
    assert other.fingerprint != space.fingerprint == spaces["clap"].fingerprint


def test_networks_are_transformers_own_and_built_without_loading_anything(home, spaces, monkeypatch):
    """No class of ours derives from theirs, which would initialise our weights; none loads a model within itself."""
    assert not issubclass(Pretrained, transformers.PreTrainedModel)
    spaces["wavlm"].encoder("audio")
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", None)
    for name, space in spaces.items():
        encoder = space.encoder("audio")
        with torch.device("meta"):
            Pretrained(encoder.reader, encoder.kind, encoder._given["config"]).build(space.dim)
        assert type(encoder.network).__module__.startswith("transformers.models."), name
        buffers = {key for key, _ in encoder.network.named_buffers()} - set(encoder.network.state_dict())
        twin = type(encoder.network)(encoder.made)
        for key in buffers:
            assert torch.equal(encoder.network.get_buffer(key), twin.get_buffer(key)), (name, key)


def test_old_names_of_weights_are_understood(home, tmp_path, spaces):
    folder = copied(home, tmp_path, "wav2vec2")
    weights = load_file(folder / "model.safetensors")
    old = {key.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"): value for key, value in weights.items()}  # fmt: skip
    assert old.keys() != weights.keys()
    save_file(old, folder / "model.safetensors", {"format": "pt"})
    assert adopted(folder, "wav2vec2").fingerprint == spaces["wav2vec2"].fingerprint


def test_weights_in_several_files_are_one_model(home, tmp_path, spaces):
    folder = copied(home, tmp_path)
    home[1]["clap"][0].save_pretrained(folder, max_shard_size="50KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert adopted(folder, "clap").fingerprint == spaces["clap"].fingerprint


def test_a_processor_in_one_file_is_read(home, tmp_path, spaces):
    folder = copied(home, tmp_path)
    own = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": own}))
    assert adopted(folder, "clap").fingerprint == spaces["clap"].fingerprint


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"auto_map": {"AutoModel": "modeling_evil.Evil"}}, Unsafe, "auto_map"),
        ({"audio_config": {"auto_map": {"AutoConfig": "evil.Evil"}}}, Unsafe, "auto_map"),
        ({"model_type": "mert_model", "auto_map": {"AutoModel": "modeling_MERT.MERTModel"}}, Unsafe, "never run"),
        ({"model_type": "bert"}, Usage, "clap, audio-spectrogram-transformer, wav2vec2, hubert, wavlm, whisper"),
        ({"model_type": None}, Usage, "cannot be adopted"),
        ({"projection_dim": "many"}, Usage, "projection_dim"),
        ({"projection_dim": 12}, Mismatch, "do not fit"),
    ],
)
def test_hostile_and_strange_settings_are_refused(home, tmp_path, changes, kind, words):
    folder = copied(home, tmp_path, **changes)
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    with pytest.raises(kind, match=words) as error:
        adopted(folder, "clap")
    assert "\n" not in str(error.value) and "Fix: " in str(error.value)
    assert not (tmp_path / "canary").exists()


def test_settings_can_name_no_kernel_no_other_model_and_no_quantisation(home, tmp_path, spaces):
    folder = copied(home, tmp_path, "wavlm", _attn_implementation="somebody/kernel", attn_implementation="some/kernel",
                    quantization_config={"quant_method": "bitsandbytes"}, _name_or_path="somebody/model",
                    base_model_name_or_path="somebody/model", transformers_weights="evil.bin")  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/model"}))
    space = adopted(folder, "wavlm")
    assert space.fingerprint == spaces["wavlm"].fingerprint
    words = json.dumps(space.encoder("audio")._given["config"])
    assert "somebody" not in words and "kernel/" not in words and "evil" not in words
    hostile = configured("wavlm", {"_attn_implementation": "some/kernel", "auto_map": {}, "hidden_size": 16})
    assert hostile._attn_implementation != "some/kernel" and not hasattr(hostile, "auto_map")
    with pytest.raises(Usage, match="no such kind"):
        Pretrained(Waveform({}), "os.system", {})


def test_weights_are_read_from_safetensors_alone(home, tmp_path):
    folder = copied(home, tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    with pytest.raises(Unsafe, match=r"pickled.*save_pretrained"):
        adopted(folder, "clap")
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(Usage, match="only safetensors"):
        adopted(folder, "clap")
    (folder / "model.safetensors").write_bytes(whole[:5000])
    with pytest.raises(Damaged, match="damaged"):
        adopted(folder, "clap")
    index = {"weight_map": {"a": "../../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Unsafe, match="outside"):
        adopted(folder, "clap")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, "no whole model"),
        ("config.json", "{", "no JSON"),
        ("tokenizer.json", None, "words cannot be read"),
        ("tokenizer.json", "{}", "no tokenizer"),
        ("preprocessor_config.json", None, "no whole model"),
        ("preprocessor_config.json", '{"feature_size": "many"}', "do not fit each other"),
        ("config.json", '{"model_type": "clap", "text_config": [1]}', "do not fit each other"),
        ("config.json", '{"model_type": ["clap"]}', "cannot be adopted"),
        ("preprocessor_config.json", '{"truncation": "fusion"}', "do not fit each other"),
    ],
)
def test_missing_and_broken_files_are_one_line(home, tmp_path, capsys, name, content, words):
    folder = copied(home, tmp_path)
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    code = main(["adopt", str(folder), str(tmp_path / "m.ckpt")])
    error = capsys.readouterr().err
    assert code in (2, 4, 5) and error.count("\n") == 1 and words in error and "Fix: " in error
    assert not (tmp_path / "m.ckpt").exists()


def test_a_place_that_holds_a_model_is_not_written_over(home, tmp_path, capsys):
    assert main(["adopt", str(home[0] / "ast"), str(tmp_path / "run")]) == 0
    assert main(["adopt", str(home[0] / "ast"), str(tmp_path / "run")]) == 2
    assert "a model is there already" in capsys.readouterr().err


def test_only_a_name_goes_to_the_hub(tmp_path, monkeypatch):
    for source in ("nowhere", "./no/where", "/no/where", "a/b/c", f"{tmp_path}/model", "../x"):
        with pytest.raises(Usage, match="no such folder"):
            local(source)
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Usage, match="there is no such folder.*save_pretrained"):
        local("models/clap")
    script = """
        from jointembed.__main__ import main
        raise SystemExit(main(["adopt", "laion/clap-htsat-unfused", "there"]))
    """
    done = fresh(script, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))
    assert done.returncode == 2 and "the hub does not give" in done.stderr and "go online" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "there").exists()


def test_cells_that_are_no_sound_and_no_text_are_refused(spaces):
    for column, cell in (("caption", 3), ("audio", "nowhere.wav"), ("audio", {"array": [1.0]})):
        with pytest.raises(Failure) as error:
            spaces["clap"].embed(column, [cell])
        assert "\n" not in str(error.value)


def test_readers_keep_transformers_defaults_and_every_kind_is_allowed_for_a_reason(spaces):
    assert set(KINDS) == {"clap_audio_model", "clap_text_model", "audio-spectrogram-transformer", "wav2vec2", "hubert",
                          "wavlm", "whisper"}  # fmt: skip
    assert ClapMel({}).shape == (4, 1001, 64) and FilterBank({}).shape == (1024, 128)
    assert WhisperMel({"feature_size": 128}).shape == (129, 3000) and Waveform({}).shape == (160000,)
    assert isinstance(spaces["clap"].reader("caption"), Tokenizer)
    for name in KINDS_OF_MODEL:
        reader = spaces[name].reader("audio")
        assert reader.pieces(np.ones(7, np.float32))[0].shape == reader.shape, name
        assert type(reader)(reader.settings).settings == reader.settings, name
        again = pickle.loads(pickle.dumps(reader))  # data workers get a copy
        assert np.array_equal(again.pieces(np.ones(900, np.float32))[0], reader.pieces(np.ones(900, np.float32))[0])
    words = pickle.loads(pickle.dumps(spaces["clap"].reader("caption")))
    assert words.numbers(TEXTS[1]) == spaces["clap"].reader("caption").numbers(TEXTS[1])


@pytest.mark.parametrize("name", KINDS_OF_MODEL)
def test_training_sees_the_same_vectors_and_gradients_reach_the_network(spaces, name):
    space = spaces[name]
    cells = {"audio": [sound(0.7, rate(space)), None, sound(1.4, rate(space))], "caption": [TEXTS[0], TEXTS[1], None]}
    batch = {column: space.reader(column).encode(cells[column]) for column in space.columns}
    codes = space(batch)
    for column in space.columns:
        kept = [cell for cell in cells[column] if cell is not None]
        z = F.normalize(codes[column].z[codes[column].present]).detach().numpy()
        assert np.abs(z - space.embed(column, kept)).max() <= 1e-5
    rough, exact = (space.embed("audio", [cells["audio"][0]], bf16=half)[0] for half in (True, False))
    assert rough @ exact > 0.95
    codes["audio"].z.square().sum().backward()
    gradients = [value.grad for value in space.encoder("audio").parameters() if value.grad is not None]
    assert gradients and all(one.isfinite().all() for one in gradients)
    space.zero_grad(set_to_none=True)
