"""Networks of transformers as encoders: built of plain settings, with their weights in the checkpoint."""

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

BATCH = 4  # windows at once: a quarter faster in bfloat16 than one by one on a CPU; more gain little


def _clap(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, C, T, bands) -> (B, W), unit vectors as `ClapModel` gives them; no window is longer than the model's."""
    longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=windows.device)
    return F.normalize(to_float32(network(input_features=windows, is_longer=longer).audio_embeds), dim=-1)


def _words(network: nn.Module, ids: Tensor) -> Tensor:
    """(B, T) sub-words -> (B, W), unit vectors as `ClapModel` gives them."""
    return F.normalize(to_float32(network(input_ids=ids, attention_mask=torch.ones_like(ids)).text_embeds), dim=-1)


def _patches(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, T, bands) -> (B, W): the model's own pooling, the mean of its class and distillation tokens."""
    return to_float32(network(windows).pooler_output)


def _samples(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, N) -> (B, W): the mean over the frames of the last layer."""
    return to_float32(network(windows).last_hidden_state).mean(1)


def _speech(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, bands + 1, T) -> (B, W): the mean over the frames of the encoder's last layer that begin in the sound."""
    steps = to_float32(network(windows[:, :-1]).last_hidden_state)  # (B, T / 2, W)
    heard = windows[:, -1, ::2, None]
    return (steps * heard).sum(1) / heard.sum(1)


@dataclass(frozen=True)
class Kind:
    """A kind of network: its classes in transformers, and how a window or a text becomes a vector.

    Args:
        home: the module under `transformers.models`.
        config: the class of its settings.
        network: the class of the network.
        width: the setting that is the width of its vectors.
        prefix: of its weights' names in a whole model.
        vector: network and windows or texts of one shape (B, ...) -> (B, W).
    """

    home: str
    config: str
    network: str
    width: str = "hidden_size"
    prefix: str = ""
    vector: Callable[[nn.Module, Tensor], Tensor] = _samples


# Nothing else is ever built: a name in somebody's file chooses among these, and names no class.
KINDS = {
    "clap_audio_model": Kind("clap", "ClapAudioConfig", "ClapAudioModelWithProjection", "projection_dim", "", _clap),
    "clap_text_model": Kind("clap", "ClapTextConfig", "ClapTextModelWithProjection", "projection_dim", "", _words),
    "audio-spectrogram-transformer": Kind(
        "audio_spectrogram_transformer", "ASTConfig", "ASTModel", "hidden_size", "", _patches
    ),
    "wav2vec2": Kind("wav2vec2", "Wav2Vec2Config", "Wav2Vec2Model"),
    "hubert": Kind("hubert", "HubertConfig", "HubertModel"),
    "wavlm": Kind("wavlm", "WavLMConfig", "WavLMModel"),
    "whisper": Kind("whisper", "WhisperConfig", "WhisperEncoder", "d_model", "encoder.", _speech),
}


def configured(kind: str, config: dict[str, Any]) -> Any:
    """The settings of a network as transformers' object.

    Only those that belong to the architecture are taken: no key can name code, a kernel or another file.

    Raises:
        UsageError: there is no such kind, or a setting is of the wrong type.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import PreTrainedConfig

    if kind not in KINDS:
        raise UsageError(kind, "there is no such kind of network", did_you_mean(kind, KINDS))
    home = importlib.import_module(f"transformers.models.{KINDS[kind].home}.configuration_{KINDS[kind].home}")
    made = getattr(home, KINDS[kind].config)
    names = {field.name for field in fields(made)} - {field.name for field in fields(PreTrainedConfig)}
    try:
        return made(**{name: config[name] for name in sorted(names) if name in config})
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise UsageError(kind, f"its settings are none ({error})", "get the model from its maker again") from error


def settings(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """All settings of an architecture as plain data, also those that `config` leaves to transformers' version."""
    made = configured(kind, config)
    from transformers import PreTrainedConfig

    common = {field.name for field in fields(PreTrainedConfig)}
    names = sorted(field.name for field in fields(made) if field.name not in common)
    return {name: list(value) if isinstance(value := getattr(made, name), tuple) else value for name in names}


def architecture(kind: str) -> Any:
    """The class of a kind's network."""
    home = importlib.import_module(f"transformers.models.{KINDS[kind].home}.modeling_{KINDS[kind].home}")
    return getattr(home, KINDS[kind].network)


class Pretrained(Encoder):
    """A network of transformers: half of CLAP, AST, wav2vec2, HuBERT, WavLM or Whisper's encoder.

    Its weights come with the checkpoint: `jointembed adopt` takes them from a model of Hugging Face. The vector of a
    window or a text is the model's own: CLAP's projection, AST's pooler output, the mean over the frames of the last
    layer of the others. That of a sound is the mean of its windows'.

    Args:
        reader: what prepares sounds or texts as the network was trained with.
        kind: which network: `clap_audio_model`, `clap_text_model`, `audio-spectrogram-transformer`, `wav2vec2`,
            `hubert`, `wavlm` or `whisper`.
        config: its settings, as in transformers' `config.json`.
    """

    def __init__(self, reader: Reader, kind: str, config: dict[str, Any]) -> None:
        self.made = configured(kind, config)
        wide_out = getattr(self.made, "add_adapter", False)
        super().__init__(reader, int(getattr(self.made, "output_hidden_size" if wide_out else KINDS[kind].width)))
        self.kind = kind

    def build(self, dim: int) -> None:
        """Make the network, in float32 whatever the weights were stored in; they come from the checkpoint."""
        self.network = architecture(self.kind)(self.made).float()

    def adopt(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a whole model, under the names that transformers saved them with.

        They go through transformers' own renaming of older files into a copy that is then thrown away. The network
        itself was made by its constructor, so what is not in the weights (positions, windows) is as it should be.

        Raises:
            MismatchError: some are missing, or of another shape.
        """
        start = KINDS[self.kind].prefix
        names = {name: name.removeprefix("model.") if start else name for name in weights}
        own = {names[name][len(start) :]: value for name, value in weights.items() if names[name].startswith(start)}
        try:
            loaded, report = architecture(self.kind).from_pretrained(
                None, config=self.made, state_dict=own, dtype=torch.float32, output_loading_info=True
            )
            lost = sorted(report["missing_keys"])
        except RuntimeError as error:
            lost = [str(error).strip().splitlines()[-1]]
        if lost:
            raise MismatchError(
                "weights", f"they do not fit the settings beside them ({lost[0]})", "get the model from its maker again"
            )
        self.network.load_state_dict(loaded.state_dict())
        assert all(value.dtype == torch.float32 for value in self.network.parameters())

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a window or a text: (P, width).

        Whole windows are computed `BATCH` at once, and a batch that is not full is filled up: with one shape, the bits
        of a vector depend on nothing beside it. Texts, and sounds that end within a window of samples, are of many
        lengths: each is computed alone, so it needs no mask. Copies that fill up a batch of `embed` are not computed.
        """
        if not len(x.rows):
            return x.values.new_zeros(0, self.width)
        if x.offsets is not None:
            parts = [x.values[start:stop] for start, stop in itertools.pairwise(x.offsets.tolist())]
        else:
            parts = [part[part.isfinite()] if part.ndim == 1 else part for part in x.values]
        source, fresh = [], list[int]()  # of each part, the one that is computed for it
        for number, part in enumerate(parts):
            if not number or not torch.equal(part, parts[number - 1]):
                fresh.append(number)
            source.append(fresh[-1])
        whole = [number for number in fresh if x.offsets is None and parts[number].shape == x.values.shape[1:]]
        batches = [whole[start : start + BATCH] for start in range(0, len(whole), BATCH)]
        batches += [[number] for number in sorted({*fresh} - {*whole})]
        made: dict[int, Tensor] = {}
        for batch in batches:
            # Training needs no equal bits, so it computes nothing in vain.
            fill = BATCH - len(batch) if batch[0] in whole and not torch.is_grad_enabled() else 0
            windows = torch.stack([parts[number] for number in batch + batch[-1:] * fill])
            made.update(zip(batch, KINDS[self.kind].vector(self.network, windows), strict=False))
        return torch.stack([made[number] for number in source])
