"""Models of text."""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders import to_float32
from ...ragged import Ragged
from .encoder import Architecture, PretrainedEncoder

# B texts, P pieces, T steps, W width


def _embed_projection(network: nn.Module, ids: Tensor) -> Tensor:
    """(B, T) subwords -> (B, W), unit vectors as `ClapModel` and `CLIPModel` return them."""
    return F.normalize(to_float32(network(input_ids=ids, attention_mask=torch.ones_like(ids)).text_embeds), dim=-1)


def _embed_siglip_text(network: nn.Module, ids: Tensor) -> Tensor:
    """(B, T) subwords, padded to the length of the model -> (B, W), unit vectors as `SiglipModel` returns them."""
    return F.normalize(to_float32(network(input_ids=ids).pooler_output), dim=-1)


class PretrainedTextEncoder(PretrainedEncoder):
    """A network of transformers over texts: that of CLAP, CLIP or SigLIP. The vector of a text is its projection.

    Args:
        reader: reads texts as in the training of the network.
        architecture: `clap_text_model`, `clip_text_model` or `siglip_text_model`.
        config: its settings, as in `config.json` of transformers.
    """

    architectures: ClassVar[dict[str, Architecture]] = {
        "clap_text_model": Architecture(
            "clap", "ClapTextConfig", "ClapTextModelWithProjection", _embed_projection, "projection_dim"
        ),
        "clip_text_model": Architecture(
            "clip", "CLIPTextConfig", "CLIPTextModelWithProjection", _embed_projection, "projection_dim"
        ),
        "siglip_text_model": Architecture(
            "siglip", "SiglipTextConfig", "SiglipTextModel", _embed_siglip_text, "projection_size"
        ),
    }

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each text: (P, width). Each is computed alone, so that it needs no mask."""
        assert x.offsets is not None
        if not len(x.rows):
            return torch.zeros(0, self.width, device=x.values.device)
        texts = [x.values[start:stop] for start, stop in itertools.pairwise(x.offsets.tolist())]
        return torch.cat([self.architecture.embed(self.network, text[None]) for text in texts])
