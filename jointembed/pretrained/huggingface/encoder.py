"""Networks of transformers as encoders, built from plain settings, with their weights in the checkpoint."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders import Encoder, to_float32
from ...errors import MismatchError, UsageError, did_you_mean
from ...ragged import Ragged
from ...readers import Reader

# B windows, P pieces, T steps, W width

WINDOWS_IN_BATCH = 4  # a quarter faster than single windows, in bfloat16 on a CPU; more gain little


def _embed_clap_audio(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, C, T, bands) -> (B, W), unit vectors as `ClapModel` returns them."""
    longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=windows.device)  # than the windows of the model
    return F.normalize(to_float32(network(input_features=windows, is_longer=longer).audio_embeds), dim=-1)


def _embed_clap_text(network: nn.Module, ids: Tensor) -> Tensor:
    """(B, T) subwords -> (B, W), unit vectors as `ClapModel` returns them."""
    return F.normalize(to_float32(network(input_ids=ids, attention_mask=torch.ones_like(ids)).text_embeds), dim=-1)


def _embed_patches(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, T, bands) -> (B, W): the model's own pooling, the mean of its class and distillation tokens."""
    return to_float32(network(windows).pooler_output)


def _embed_samples(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, N) -> (B, W): the mean over the frames of the last layer."""
    return to_float32(network(windows).last_hidden_state).mean(1)


def _embed_speech(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, bands + 1, T) -> (B, W): the mean over those frames of the last layer that begin in the sound."""
    steps = to_float32(network(windows[:, :-1]).last_hidden_state)  # (B, T / 2, W)
    mask = windows[:, -1, ::2, None]
    return (steps * mask).sum(1) / mask.sum(1)


@dataclass(frozen=True)
class Architecture:
    """An architecture of transformers: its classes, and how it embeds windows or texts.

    Args:
        module: the module under `transformers.models`.
        config: the class of its configuration.
        network: the class of the network.
        width: the setting that is the width of its vectors.
        prefix: the prefix of its weights in a whole model.
        embed: network and windows or texts of one shape (B, ...) -> (B, W).
    """

    module: str
    config: str
    network: str
    width: str = "hidden_size"
    prefix: str = ""
    embed: Callable[[nn.Module, Tensor], Tensor] = _embed_samples

    def import_class(self, file: str, name: str) -> Any:
        """A class of transformers from `configuration_...` or `modeling_...`."""
        return getattr(importlib.import_module(f"transformers.models.{self.module}.{file}_{self.module}"), name)


# The only networks that are ever built: a name in an untrusted file selects one of these, and never a class.
ARCHITECTURES = {
    "clap_audio_model": Architecture(
        "clap", "ClapAudioConfig", "ClapAudioModelWithProjection", "projection_dim", "", _embed_clap_audio
    ),
    "clap_text_model": Architecture(
        "clap", "ClapTextConfig", "ClapTextModelWithProjection", "projection_dim", "", _embed_clap_text
    ),
    "audio-spectrogram-transformer": Architecture(
        "audio_spectrogram_transformer", "ASTConfig", "ASTModel", "hidden_size", "", _embed_patches
    ),
    "wav2vec2": Architecture("wav2vec2", "Wav2Vec2Config", "Wav2Vec2Model"),
    "hubert": Architecture("hubert", "HubertConfig", "HubertModel"),
    "wavlm": Architecture("wavlm", "WavLMConfig", "WavLMModel"),
    "whisper": Architecture("whisper", "WhisperConfig", "WhisperEncoder", "d_model", "encoder.", _embed_speech),
}


def make_config(architecture: str, settings: dict[str, Any]) -> Any:
    """The configuration object of transformers.

    Only settings of the architecture are used, so that no key can name code, a kernel or another file.

    Raises:
        UsageError: the architecture is unknown, or a setting has the wrong type.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import PreTrainedConfig

    if architecture not in ARCHITECTURES:
        raise UsageError(architecture, "unknown architecture", did_you_mean(architecture, ARCHITECTURES))
    config_class = ARCHITECTURES[architecture].import_class("configuration", ARCHITECTURES[architecture].config)
    names = {field.name for field in fields(config_class)} - {field.name for field in fields(PreTrainedConfig)}
    try:
        return config_class(**{name: settings[name] for name in sorted(names) if name in settings})
    except (StrictDataclassError, TypeError, ValueError) as error:
        fix = "get the model from its maker again"
        raise UsageError(architecture, f"its settings are not valid ({error})", fix) from error


def complete_settings(architecture: str, settings: dict[str, Any]) -> dict[str, Any]:
    """All settings of an architecture as plain data, including the defaults of this version of transformers."""
    from transformers import PreTrainedConfig

    config = make_config(architecture, settings)
    common = {field.name for field in fields(PreTrainedConfig)}
    names = sorted(field.name for field in fields(config) if field.name not in common)
    return {name: list(value) if isinstance(value := getattr(config, name), tuple) else value for name in names}


class PretrainedEncoder(Encoder):
    """A network of transformers: either half of CLAP, AST, wav2vec2, HuBERT, WavLM, or the encoder of Whisper.

    Its weights are in the checkpoint, where `jointembed adopt` puts them. The vector of a window or a text is that of
    the model: CLAP's projection, AST's pooler output, the mean over the frames of the last layer for the others. The
    vector of a sound is the mean over its windows.

    Args:
        reader: prepares sounds or texts as in the training of the network.
        architecture: `clap_audio_model`, `clap_text_model`, `audio-spectrogram-transformer`, `wav2vec2`, `hubert`,
            `wavlm` or `whisper`.
        config: its settings, as in `config.json` of transformers.
    """

    def __init__(self, reader: Reader, architecture: str, config: dict[str, Any]) -> None:
        self.config = make_config(architecture, config)
        self.architecture = ARCHITECTURES[architecture]
        adapter = getattr(self.config, "add_adapter", False)
        super().__init__(
            reader, int(getattr(self.config, "output_hidden_size" if adapter else self.architecture.width))
        )

    def _network_class(self) -> Any:
        return self.architecture.import_class("modeling", self.architecture.network)

    def build(self, dim: int) -> None:
        """Make the network in float32, whatever the precision of the stored weights, which are loaded later."""
        self.network = self._network_class()(self.config).float()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load the weights of a whole model, under the names that transformers saved them with.

        transformers loads them into a temporary copy, because it renames the weights of older files. The network keeps
        the buffers that are not among the weights (positions, windows) from its constructor.

        Raises:
            MismatchError: weights are missing, or have another shape.
        """
        prefix = self.architecture.prefix
        names = {name: name.removeprefix("model.") if prefix else name for name in weights}
        own = {names[name][len(prefix) :]: value for name, value in weights.items() if names[name].startswith(prefix)}
        try:
            loaded, report = self._network_class().from_pretrained(
                None, config=self.config, state_dict=own, dtype=torch.float32, output_loading_info=True
            )
            missing = sorted(report["missing_keys"])
        except RuntimeError as error:
            missing = [str(error).strip().splitlines()[-1]]
        if missing:
            wrong = f"they do not match the settings beside them ({missing[0]})"
            raise MismatchError("weights", wrong, "get the model from its maker again")
        self.network.load_state_dict(loaded.state_dict())
        assert all(value.dtype == torch.float32 for value in self.network.parameters())

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each window or text: (P, width).

        Full windows are computed in batches of `WINDOWS_IN_BATCH`, and an incomplete batch is padded: in one shape, the
        bits of a vector do not depend on its neighbours. Texts, and sounds that end inside a window of samples, vary in
        length: each is computed alone, so that it needs no mask. The copies that pad a batch of `embed` are skipped.
        """
        if not len(x.rows):
            return x.values.new_zeros(0, self.width)
        if x.offsets is not None:
            parts = [x.values[start:stop] for start, stop in itertools.pairwise(x.offsets.tolist())]
        else:
            parts = [part[part.isfinite()] if part.ndim == 1 else part for part in x.values]
        sources, distinct = [], list[int]()  # for each part, the number of the equal part that is computed
        for number, part in enumerate(parts):
            if not number or not torch.equal(part, parts[number - 1]):
                distinct.append(number)
            sources.append(distinct[-1])
        full = [number for number in distinct if x.offsets is None and parts[number].shape == x.values.shape[1:]]
        batches = [full[start : start + WINDOWS_IN_BATCH] for start in range(0, len(full), WINDOWS_IN_BATCH)]
        batches += [[number] for number in sorted({*distinct} - {*full})]
        vectors: dict[int, Tensor] = {}
        for batch in batches:
            # Training does not need equal bits, so its batches are not padded.
            padding = WINDOWS_IN_BATCH - len(batch) if batch[0] in full and not torch.is_grad_enabled() else 0
            windows = torch.stack([parts[number] for number in batch + batch[-1:] * padding])
            vectors.update(zip(batch, self.architecture.embed(self.network, windows), strict=False))
        return torch.stack([vectors[number] for number in sources])
