"""Tiny models of transformers with random weights, as `save_pretrained` writes them, and what they give."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer as Fast
from tokenizers import models, pre_tokenizers, processors, trainers
from torch.nn import functional as F

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
SECONDS = {"clap": 1.0, "fused": 1.0, "ast": 0.655, "whisper": 2.0}
AUDIT = """
import sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "os.system"):
        raise SystemExit(f"{event} {args}")
sys.addaudithook(watch)
"""


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
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


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


def tiny_model(name):
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


def fresh(script, **more):
    """Run a script in a process of its own, in which any connection ends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    return subprocess.run([sys.executable, "-c", AUDIT + textwrap.dedent(script)], capture_output=True, text=True,
                          env=environment | {"OMP_NUM_THREADS": "1"} | more)  # fmt: skip
