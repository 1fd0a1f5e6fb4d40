"""EmbeddingGemma 2 (Google DeepMind 2026): texts, images and sounds in one space, through one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders import Encoder, compute_by_length, round_up, to_float32
from ...errors import MismatchError, UsageError
from ...ragged import Ragged
from ...readers import Reader
from ...space.space import Space
from ..batches import embed_in_batches
from .audio import make_audio_reader
from .encoder import Architecture
from .folder import FETCH_AGAIN, ModelFolder
from .sentence_transformers import read_sentence_settings
from .text import PretrainedTextEncoder, load_dense
from .tokenizer import MediaTokenizer, load_tokenizer
from .vision import make_image_reader

# B rows of a batch, P patches, T steps, S soft tokens, H width of a step, W width

NAME = "embedding_gemma2"
MAX_LENGTH = 8192  # subwords that it was trained with; its positions would reach further than the memory
IMAGE, AUDIO = "image", "audio"
MEDIA_IN_BATCH = {"cpu": 1, "cuda": 8}  # a single image has thousands of patches, which keep a CPU busy
MARKS = {  # by column, the settings with the numbers of the tokens before, in and after what it reads
    IMAGE: ("boi_token_id", "image_token_id", "eoi_token_id"),
    AUDIO: ("boa_token_id", "audio_token_id", "eoa_token_index"),
}
LAYER_SETTINGS = {"head_dim", "num_key_value_heads"}  # that may differ from layer to layer


def _embed_texts(network: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Subwords (B, T) and their mask (B, T) -> the last layer (B, T, W)."""
    steps: Tensor = network(input_ids=ids, attention_mask=_make_masks(network, mask > 0)).last_hidden_state
    return steps


def _make_masks(network: Any, mask: Tensor) -> dict[str, Tensor]:
    """Which steps (B, T) attend to which, (B, 1, T, T), by the kind of layer.

    transformers leaves out a mask without padding, so that another kernel might compute a row beside such neighbours.
    """
    steps = torch.arange(mask.shape[1], device=mask.device)
    distances = (steps[:, None] - steps).abs()
    full = mask[:, None, None] | (distances == 0)  # padding attends to itself: a softmax over nothing is not a number
    return {
        "full_attention": full,
        "sliding_attention": full & (distances <= network.config.text_config.sliding_window),
    }


@dataclass(frozen=True)
class _TextArchitecture(Architecture):
    def make_config(self, settings: dict[str, Any]) -> Any:
        layers = settings.get("per_layer_config") or {}
        for name, value in ((name, value) for layer in layers.values() for name, value in layer.items()):
            if name not in LAYER_SETTINGS or not isinstance(value, int):
                raise UsageError(f"per_layer_config.{name}", f"it is {value!r} in a layer", FETCH_AGAIN)
        return super().make_config(settings)

    def complete_settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        plain = self.make_config(settings).to_dict()
        layers = plain.get("per_layer_config") or {}
        return {
            **{name: plain[name] for name in self.setting_names()},
            "per_layer_config": {str(number): dict(layer) for number, layer in layers.items()},
        }


TEXT = _TextArchitecture(
    NAME,
    "EmbeddingGemma2TextConfig",
    "EmbeddingGemma2TextModel",
    _embed_texts,
    undeclared=("per_layer_config",),
)
TOWERS = {
    "vision_config": Architecture("gemma4", "Gemma4VisionConfig", "Gemma4VisionModel", _embed_texts),
    "audio_config": Architecture("gemma4", "Gemma4AudioConfig", "Gemma4AudioModel", _embed_texts),
}  # of both only the settings are used


@dataclass(frozen=True)
class _WholeArchitecture(Architecture):
    def make_config(self, settings: dict[str, Any]) -> Any:
        text = TEXT.make_config(settings.get("text_config") or {})
        towers = {name: tower.make_config(settings[name]) for name, tower in TOWERS.items() if settings.get(name)}
        config = super().make_config({**settings, **dict.fromkeys(TOWERS), "text_config": text, **towers})
        config.embedding_dim, config.pad_token_id = text.embedding_dim, text.pad_token_id
        return config

    def complete_settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        config = self.make_config(settings)
        numbers = {name: getattr(config, name) for names in MARKS.values() for name in names}
        return {
            **numbers,
            "video_token_id": config.video_token_id,
            "text_config": TEXT.complete_settings(settings.get("text_config") or {}),
            **{name: tower.complete_settings(settings[name]) for name, tower in TOWERS.items() if settings.get(name)},
        }


class EmbeddingGemma2Encoder(PretrainedTextEncoder):
    """EmbeddingGemma 2 over texts, images and sounds: columns that share it are read by one network.

    An image or a sound becomes soft tokens, which the network reads like the subwords of a text. Its vector is the mean
    over all steps.

    Args:
        reader: reads texts, and has the readers of images and sounds.
        config: its settings, as in `config.json` of transformers.
        affixes: by column, the numbers of the tokens before and after the soft tokens.
        pooling: see `PretrainedTextEncoder`.
        dense: see `PretrainedTextEncoder`.
        normalize: give unit vectors.

    Raises:
        UsageError: a setting has the wrong type.
    """

    reader: MediaTokenizer
    architectures: ClassVar[dict[str, Architecture]] = {
        NAME: _WholeArchitecture(NAME, "EmbeddingGemma2Config", "EmbeddingGemma2Model", _embed_texts, "embedding_dim")
    }

    def __init__(
        self,
        reader: MediaTokenizer,
        config: dict[str, Any],
        affixes: Mapping[str, Sequence[Sequence[int]]],
        pooling: Sequence[str] = ("mean",),
        dense: Sequence[dict[str, Any]] = (),
        normalize: bool = True,
    ) -> None:
        super().__init__(reader, NAME, config, pooling, dense, normalize)
        self.affixes = {name: [list(part) for part in parts] for name, parts in affixes.items()}

    def build(self, dim: int) -> None:
        """Make the network and the layers after it in float32; their weights are loaded later."""
        super().build(dim)
        self.network.language_model.config._attn_implementation = "sdpa"

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See `PretrainedEncoder.load_weights`."""
        super().load_weights(weights)
        limit = torch.finfo(torch.float32).max
        for buffer in self.network.buffers():  # ranges of activations, without end in some models
            buffer.clamp_(-limit, limit)

    def length(self, x: Ragged) -> Tensor:
        """(P,) the steps of each text, or the frames of each sound, rounded up by an eighth at most."""
        medium = self._medium(x)
        if medium is None:
            return super().length(x)
        if medium == IMAGE:
            return Encoder.length(self, x)
        return round_up(x.values[..., -1].sum(1).long(), x.values.shape[1])

    def batches(self, x: Ragged, size: int | None) -> list[Tensor]:
        """See `Encoder.batches`."""
        return super().batches(x, size) if self._medium(x) is None else Encoder.batches(self, x, size)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each text, image or window of a sound: (P, width)."""
        medium = self._medium(x)
        if medium is None:
            return super().pieces(x)
        if not len(x.rows):
            return x.values.new_zeros(0, self.width)
        if medium == AUDIO:
            return compute_by_length(self._embed_windows, x, self.length(x))
        return self._embed_media(x.values, self._embed_images)

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Windows of sounds (P, frames, bands + 1) -> (P, width)."""
        return self._embed_sounds(values)

    def _medium(self, x: Ragged) -> str | None:
        """The column whose reader made the pieces; None of texts."""
        if x.offsets is not None:
            return None
        return next(name for name, reader in self.reader.media.items() if reader.shape == x.values.shape[1:])

    def _embed_images(self, images: Tensor) -> Tensor:
        """Images (B, P, ...) of `PooledPatches` -> (B, W)."""
        square = int(self.config.vision_config.pooling_kernel_size) ** 2
        # One more square of padding, so that there always is some: see `_make_masks`.
        images = F.pad(images, (0, 0, 0, square))
        grids = images[:, 0, -2:].long()  # (B, 2)
        counts, columns = grids.prod(1, keepdim=True), grids[:, 1:]  # (B, 1)
        patches = torch.arange(images.shape[1], device=images.device)
        places = torch.stack([patches % columns, patches // columns], -1)
        places = places.masked_fill((patches >= counts)[..., None], -1)  # (B, P, 2)
        soft = self.network.vision_tower(
            pixel_values=images[..., :-2], pixel_position_ids=places
        ).last_hidden_state.split((counts[:, 0] // square).tolist())
        # A product with as many rows as all images have together would have other bits than that of one image.
        parts = [self.network.embed_vision(part) for part in soft]
        most = images.shape[1] // square - 1
        padded = torch.stack([F.pad(part, (0, 0, 0, most - len(part))) for part in parts])
        return self._read(IMAGE, padded, counts // square)

    def _embed_windows(self, x: Ragged) -> Tensor:
        """The vectors (P, W) of windows of a similar length."""
        windows = x.values[:, : int(self.length(x).max())]
        return self._embed_media(windows, self._embed_sounds)

    def _embed_media(self, values: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        return embed_in_batches(values, MEDIA_IN_BATCH.get(values.device.type, 1), embed)

    def _embed_sounds(self, windows: Tensor) -> Tensor:
        """(B, T, bands + 1) of `Gemma4Features` -> (B, W)."""
        out = self.network.audio_tower(windows[..., :-1], windows[..., -1] > 0)
        counts = out.attention_mask.sum(1, keepdim=True)
        return self._read(AUDIO, self.network.embed_audio(out.last_hidden_state), counts)

    def _read(self, column: str, soft: Tensor, counts: Tensor) -> Tensor:
        """Soft tokens (B, S, H) of images or sounds, and how many of each are not padding (B, 1) -> (B, W)."""
        table, device = self.network.get_input_embeddings(), soft.device
        before, after = (table(torch.tensor(part, device=device)) for part in self.affixes[column])
        places = torch.arange(len(before) + soft.shape[1] + len(after), device=device) - len(before) - counts  # (B, T)
        # Where soft tokens and padding end, the marks after them begin; what comes then is padding.
        steps = torch.cat([before.expand(soft.shape[0], -1, -1), F.pad(soft, (0, 0, 0, len(after)))], 1)
        steps = torch.where((places >= 0)[..., None], after[places.clamp(0, len(after) - 1)], steps)  # (B, T, H)
        mask = places < len(after)
        masks = _make_masks(self.network, mask)
        h = to_float32(self.network.language_model(inputs_embeds=steps, attention_mask=masks).last_hidden_state)
        return self._finish(self._pool(h, mask[..., None].to(h.dtype)))


def _read_affixes(folder: ModelFolder, reader: MediaTokenizer, settings: dict[str, Any]) -> dict[str, list[list[int]]]:
    """By column, the numbers of the tokens before and after the soft tokens.

    Raises:
        MismatchError: the tokenizer does not read the marks.
    """
    from tokenizers import Tokenizer

    tokenizer, affixes = Tokenizer.from_str(reader.state()["tokenizer"]), {}
    for column in reader.media:
        numbers = [settings[name] for name in MARKS[column]]
        text = "".join(str(tokenizer.id_to_token(number)) for number in numbers)
        ids = list(tokenizer.encode(text).ids)
        place = ids.index(numbers[1]) if numbers[1] in ids else 0
        if ids[max(0, place - 1) : place + 2] != numbers:
            wrong = f"it does not know the marks of {column} that config.json names ({', '.join(MARKS[column])})"
            raise MismatchError(folder.path / "tokenizer.json", wrong, FETCH_AGAIN)
        affixes[column] = [ids[:place], ids[place + 1 :]]
    return affixes


def _convert(folder: ModelFolder) -> Space:
    """A space with the columns `text`, `query`, and `image` and `audio` if it has their towers."""
    config = folder.config
    for name, tower in TOWERS.items():
        kind = tower.config.replace("Gemma4", "gemma4_").removesuffix("Config").lower()
        if (own := (config.get(name) or {}).get("model_type", kind)) != kind:
            wrong = f"its {name} is of the type {own!r}, which is not supported"
            raise UsageError(folder.path / "config.json", wrong, f"adopt a model with {kind}")
    settings = EmbeddingGemma2Encoder.architectures[NAME].complete_settings(config)
    sentence, text = read_sentence_settings(folder), settings["text_config"]
    media: dict[str, Reader] = {}
    if "vision_config" in settings:
        media[IMAGE] = make_image_reader(folder)
    if "audio_config" in settings:
        media[AUDIO] = make_audio_reader(folder, settings["audio_config"])
    limit = min(text["max_position_embeddings"], sentence.max_length or MAX_LENGTH)
    reader = MediaTokenizer(limit, sentence.prompts, media)
    reader.restore(load_tokenizer(folder.path, limit, text["vocab_size"], sentence.lowercase).state())
    encoder = EmbeddingGemma2Encoder(
        reader,
        settings,
        _read_affixes(folder, reader, settings),
        sentence.pooling,
        [layer.settings for layer in sentence.dense],
        sentence.normalize,
    )
    columns = dict.fromkeys([*sentence.prompts, *media], "network")
    space = Space(encoder.width, {"network": encoder}, columns=columns, metric=sentence.metric)
    space.build()
    encoder.load_weights(folder.weights)
    load_dense(encoder, folder, sentence)
    space.description = sentence.note
    return space


CONVERTERS = {NAME: _convert}
