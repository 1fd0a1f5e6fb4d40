"""Models of text: BERT and its relatives, with the pooling, layers and prompts of a sentence-transformers folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders import compute_by_length, fill_batches, round_up, to_float32
from ...errors import UsageError, did_you_mean
from ...ragged import Ragged, ranges
from ...readers import TokenReader
from ...space.space import Space
from .encoder import Architecture, PretrainedEncoder
from .folder import ModelFolder, load_weights
from .packing import ATTENTION, pack
from .sentence_transformers import SentenceSettings, read_sentence_settings
from .tokenizer import load_tokenizer

# P pieces, T steps of a text, S steps of a row of texts, W width

STEPS_IN_BATCH = 256  # of all texts in a batch of `embed`: their activations stay in the cache of a core
PACKED = ("bert", "roberta", "xlm-roberta", "distilbert")  # whose texts may share a row: no step knows its neighbours
COUNTS_FROM_ZERO = ("bert", "distilbert", "modernbert")  # others number positions from the one after the padding token
ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU}


def _mean(steps: Tensor, mask: Tensor) -> Tensor:
    return (steps * mask).sum(1) / mask.sum(1)


def _mean_sqrt(steps: Tensor, mask: Tensor) -> Tensor:
    return (steps * mask).sum(1) / mask.sum(1).sqrt()


def _weighted_mean(steps: Tensor, mask: Tensor) -> Tensor:
    weights = mask * torch.arange(1, steps.shape[1] + 1, device=steps.device)[:, None]
    return (steps * weights).sum(1) / weights.sum(1)


def _max(steps: Tensor, mask: Tensor) -> Tensor:
    return steps.masked_fill(mask == 0, -torch.inf).amax(1)


def _first(steps: Tensor, mask: Tensor) -> Tensor:
    return steps[:, 0]


def _last(steps: Tensor, mask: Tensor) -> Tensor:
    last = mask.sum(1).long() - 1  # (P, 1)
    return steps.gather(1, last[..., None].expand(-1, 1, steps.shape[2]))[:, 0]


NO_POOLER = {"add_pooling_layer": False}  # a layer after the last one that sentence-transformers does not use
# Under the names of sentence-transformers: steps (P, T, W) and their mask (P, T, 1) of 0 and 1 -> (P, W).
POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}


def embed_steps(network: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Subwords (P, T) and their mask (P, T) -> the last layer (P, T, W)."""
    return cast(Tensor, network(input_ids=ids, attention_mask=mask).last_hidden_state)


def _embed_projection(network: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Subwords (P, T) and their mask (P, T) -> the projection of CLAP or CLIP (P, W)."""
    return cast(Tensor, network(input_ids=ids, attention_mask=mask).text_embeds)


def _embed_siglip_text(network: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Subwords (P, T), which the reader padded to the length of the model -> the projection of SigLIP (P, W)."""
    return cast(Tensor, network(input_ids=ids).pooler_output)


class PretrainedTextEncoder(PretrainedEncoder):
    """A network of transformers over texts, with the pooling and the layers of sentence-transformers after it.

    Args:
        reader: reads texts as in the training of the network.
        architecture: `bert` (also MiniLM and E5), `roberta`, `xlm-roberta`, `mpnet`, `distilbert`, `modernbert`,
            `clap_text_model`, `clip_text_model`, `siglip_text_model` or `siglip2_text_model`.
        config: its settings, as in `config.json` of transformers.
        pooling: how the steps of a text become its vector: `cls`, `max`, `mean`, `mean_sqrt_len_tokens`,
            `weightedmean` or `lasttoken`; the vectors of several are concatenated. Empty: the network pools itself.
        dense: linear layers after it: `{in_features, out_features, bias, activation}`.
        normalize: give unit vectors.

    Raises:
        UsageError: the architecture, a pooling or an activation is unknown, or a setting has the wrong type.
    """

    reader: TokenReader
    architectures: ClassVar[dict[str, Architecture]] = {
        "bert": Architecture("bert", "BertConfig", "BertModel", embed_steps, options=NO_POOLER),
        "roberta": Architecture("roberta", "RobertaConfig", "RobertaModel", embed_steps, options=NO_POOLER),
        "xlm-roberta": Architecture(
            "xlm_roberta", "XLMRobertaConfig", "XLMRobertaModel", embed_steps, options=NO_POOLER
        ),
        "mpnet": Architecture("mpnet", "MPNetConfig", "MPNetModel", embed_steps, options=NO_POOLER),
        "distilbert": Architecture("distilbert", "DistilBertConfig", "DistilBertModel", embed_steps, "dim"),
        "modernbert": Architecture("modernbert", "ModernBertConfig", "ModernBertModel", embed_steps),
        "clap_text_model": Architecture(
            "clap", "ClapTextConfig", "ClapTextModelWithProjection", _embed_projection, "projection_dim"
        ),
        "clip_text_model": Architecture(
            "clip", "CLIPTextConfig", "CLIPTextModelWithProjection", _embed_projection, "projection_dim"
        ),
        "siglip_text_model": Architecture(
            "siglip", "SiglipTextConfig", "SiglipTextModel", _embed_siglip_text, "projection_size"
        ),
        "siglip2_text_model": Architecture(
            "siglip2", "Siglip2TextConfig", "Siglip2TextModel", _embed_siglip_text, "projection_size"
        ),
    }

    def __init__(
        self,
        reader: TokenReader,
        architecture: str,
        config: dict[str, Any],
        pooling: Sequence[str] = ("mean",),
        dense: Sequence[dict[str, Any]] = (),
        normalize: bool = False,
    ) -> None:
        super().__init__(reader, architecture, config)
        self.name, self.pooling, self.normalize = architecture, list(pooling), normalize
        self.first_position = 0 if architecture in COUNTS_FROM_ZERO else int(self.config.pad_token_id) + 1
        for name in self.pooling:
            if name not in POOLINGS:
                raise UsageError("pooling", f"unknown pooling {name!r}", did_you_mean(name, POOLINGS))
        self.dense_settings = list(dense)
        for layer in self.dense_settings:
            if layer["activation"] not in ACTIVATIONS:
                wrong = f"unknown activation {layer['activation']!r}"
                raise UsageError("dense", wrong, did_you_mean(layer["activation"], ACTIVATIONS))
        self.width *= len(self.pooling) or 1
        if self.dense_settings:
            self.width = int(self.dense_settings[-1]["out_features"])

    def build(self, dim: int) -> None:
        """Make the network and the layers after it in float32; their weights are loaded later."""
        super().build(dim)
        if self.name in PACKED:
            self.network.config._attn_implementation = ATTENTION
        self.dense = nn.ModuleList(
            nn.Sequential(
                nn.Linear(layer["in_features"], layer["out_features"], layer["bias"]),
                ACTIVATIONS[layer["activation"]](),
            )
            for layer in self.dense_settings
        )

    @property
    def packs(self) -> bool:
        """Whether texts are computed side by side in rows: on a CPU, where no gradient is needed."""
        device = next(self.network.parameters()).device
        return self.name in PACKED and device.type == "cpu" and not torch.is_grad_enabled()

    def length(self, x: Ragged) -> Tensor:
        """(P,) the steps that each text is computed with: the subwords, rounded up by an eighth at most."""
        assert x.offsets is not None
        return round_up(x.offsets.diff(), self.reader.max_length)

    def batches(self, x: Ragged, size: int | None) -> list[Tensor]:
        """Texts that fill a row of `STEPS_IN_BATCH`, or texts of one length that have as many steps together."""
        assert x.offsets is not None
        if self.packs:
            return pack(x.offsets.diff(), STEPS_IN_BATCH)
        return [
            batch
            for length, pieces in self.groups(x)
            for batch in fill_batches(pieces, size or max(1, STEPS_IN_BATCH // length))
        ]

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each text: (P, width)."""
        assert x.offsets is not None
        if not len(x.rows):
            return torch.zeros(0, self.width, device=x.values.device)
        if self.packs:
            rows = pack(x.offsets.diff(), STEPS_IN_BATCH)
            h = torch.cat([self._embed_row(x.take(row)) for row in rows])
            return h[torch.argsort(torch.cat(rows))]
        return compute_by_length(self._embed_padded, x, self.length(x))

    def _embed_padded(self, x: Ragged) -> Tensor:
        """The vectors (P, width) of texts that are padded to the longest."""
        assert x.offsets is not None
        steps = int(self.length(x).max())
        ids = x.pad_tokens(steps, int(self.config.pad_token_id))  # (P, T)
        mask = torch.arange(steps, device=ids.device) < x.offsets.diff()[:, None]  # (P, T)
        return self.embed_tokens(ids, mask)

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Subwords (P, T) -> (P, width), with padding between texts."""
        ids = ids.masked_fill(~mask, int(self.config.pad_token_id))
        h = to_float32(self.architecture.embed(self.network, ids, mask.long()))
        return self._finish(self._pool(h, mask.unsqueeze(-1).to(h.dtype)) if self.pooling else h)

    def _embed_row(self, x: Ragged) -> Tensor:
        """The vectors (P, width) of texts side by side, from the shortest to the longest."""
        assert x.offsets is not None
        sizes = x.offsets.diff()
        total = len(x.values)
        steps = -(-total // STEPS_IN_BATCH) * STEPS_IN_BATCH
        ids = torch.full((1, steps), int(self.config.pad_token_id))
        positions = torch.full((1, steps), self.first_position)
        ids[0, :total] = x.values
        positions[0, :total] += ranges(torch.zeros_like(sizes), sizes)
        lengths, counts = torch.unique_consecutive(sizes, return_counts=True)
        groups = list(zip(lengths.tolist(), counts.tolist(), strict=True))
        h = to_float32(
            self.network(input_ids=ids, position_ids=positions, packed=groups).last_hidden_state[0]
        )  # (S, W)
        texts = torch.split(h[:total], [length * count for length, count in groups])
        parts = [part.reshape(count, length, -1) for part, (length, count) in zip(texts, groups, strict=True)]
        pooled = torch.cat([self._pool(part, part.new_ones(*part.shape[:2], 1)) for part in parts])
        # A product with as many rows as there happen to be texts would have other bits than that of one text.
        return self._finish(pooled) if not self.dense else torch.cat([self._finish(row[None]) for row in pooled])

    def _pool(self, steps: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([POOLINGS[name](steps, mask) for name in self.pooling], -1)

    def _finish(self, h: Tensor) -> Tensor:
        for layer in self.dense:
            h = layer(h)
        h = to_float32(h)
        return F.normalize(h, dim=-1) if self.normalize else h


def _max_length(architecture: str, settings: dict[str, Any]) -> int:
    """The number of subwords that the positions of a network are enough for."""
    unused = 0 if architecture in COUNTS_FROM_ZERO else settings["pad_token_id"] + 1
    return int(settings["max_position_embeddings"]) - unused


def make_text_encoder(
    folder: ModelFolder, architecture: str, config: dict[str, Any], sentence: SentenceSettings
) -> PretrainedTextEncoder:
    """The text encoder of a model, without its weights.

    Args:
        folder: of the model.
        architecture: one of `PretrainedTextEncoder.architectures`.
        config: the settings of the network, as in `config.json`.
        sentence: what sentence-transformers does before and after the network.

    Raises:
        UsageError: the folder has no tokenizer.
    """
    settings = PretrainedTextEncoder.architectures[architecture].complete_settings(config)
    limit = _max_length(architecture, settings)
    length = min(limit, sentence.max_length or limit)
    reader = load_tokenizer(folder.path, length, settings["vocab_size"], sentence.lowercase, sentence.prompts)
    return PretrainedTextEncoder(
        reader,
        architecture,
        settings,
        sentence.pooling,
        [layer.settings for layer in sentence.dense],
        sentence.normalize,
    )


def load_dense(encoder: PretrainedTextEncoder, folder: ModelFolder, sentence: SentenceSettings) -> None:
    """Load the weights of the layers after the pooling from a folder of sentence-transformers."""
    for layer, own in zip(encoder.dense, sentence.dense, strict=True):
        weights = load_weights(folder.path / own.folder / "model.safetensors")
        layer.load_state_dict({name.replace("linear", "0"): value for name, value in weights.items()})


def _convert(folder: ModelFolder) -> Space:
    """A space with the column `text`, and `query` if queries have a prompt of their own."""
    sentence = read_sentence_settings(folder)
    encoder = make_text_encoder(folder, folder.model_type, folder.config, sentence)
    space = Space(
        encoder.width, {"text": encoder}, columns={name: "text" for name in sentence.prompts}, metric=sentence.metric
    )
    space.build()
    encoder.load_weights(folder.weights)
    load_dense(encoder, folder, sentence)
    space.description = sentence.note
    return space


# The text tower of a model of two is adopted with the other one: alone, nothing says how its texts are padded.
CONVERTERS = {name: _convert for name in PretrainedTextEncoder.architectures if not name.endswith("_text_model")}
