"""CLIP (Radford et al. 2021), SigLIP (Zhai et al. 2023) and SigLIP 2 with NaFlex (Tschannen et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ...errors import UsageError
from ...readers.text import check_text
from ...space.space import Space
from .folder import ModelFolder
from .text import PretrainedTextEncoder
from .tokenizer import PretrainedTokenizer, load_tokenizer
from .vision import PretrainedImageEncoder, make_image_reader


class PaddedTokenizer(PretrainedTokenizer):
    """Text as a fixed number of subwords, which SigLIP reads without a mask: a short text is padded.

    Args:
        max_length: the number of subwords.
        pad_id: the id of the subword that a text is padded with.
        padding_side: where it is padded.
        lowercase: whether a text is read in lower case.
    """

    def __init__(
        self,
        max_length: int = 64,
        pad_id: int = 1,
        padding_side: Literal["left", "right"] = "right",
        lowercase: bool = False,
    ) -> None:
        super().__init__(max_length)
        self.pad_id, self.padding_side, self.lowercase = pad_id, padding_side, lowercase

    def token_ids(self, element: Any) -> Sequence[int]:
        """The ids of `max_length` subwords; see `PretrainedTokenizer`."""
        text = check_text(element)
        ids = list(super().token_ids(text.lower() if self.lowercase else text))
        padding = [self.pad_id] * (self.max_length - len(ids))
        return padding + ids if self.padding_side == "left" else ids + padding


def _convert(folder: ModelFolder) -> Space:
    """A space with the columns `image` and `caption`."""
    model_type, config = folder.model_type, folder.config
    shared = {"projection_dim": config.get("projection_dim", 512)} if model_type == "clip" else {}
    # Older models repeat the settings that differ from the defaults.
    image, text = (
        encoder.architectures[f"{model_type}_{part}_model"].complete_settings(
            {**(config.get(f"{part}_config") or {}), **(config.get(f"{part}_config_dict") or {}), **shared}
        )
        for part, encoder in (("vision", PretrainedImageEncoder), ("text", PretrainedTextEncoder))
    )
    if not image.get("vision_use_head", True):
        wrong = "its image tower has no pooling (vision_use_head is false), so an image has no vector"
        raise UsageError(folder.path / "config.json", wrong, "adopt a model whose image tower has its head")
    tokenizer = load_tokenizer(folder.path, text["max_position_embeddings"], text["vocab_size"])
    encoders = {
        "image": PretrainedImageEncoder(make_image_reader(folder), f"{model_type}_vision_model", image),
        "caption": PretrainedTextEncoder(
            _pad(folder, tokenizer, text["pad_token_id"]) if model_type != "clip" else tokenizer,
            f"{model_type}_text_model",
            text,
            pooling=(),
            normalize=True,
        ),
    }
    space = Space(encoders["image"].width, dict(encoders))
    space.build()
    for encoder in encoders.values():
        encoder.load_weights(folder.weights)
    return space


def _pad(folder: ModelFolder, tokenizer: PretrainedTokenizer, pad_id: int) -> PaddedTokenizer:
    """The tokenizer of SigLIP, padded as `tokenizer_config.json` says; with `pad_id` where it says nothing."""
    from tokenizers import Tokenizer

    settings = folder.read_json("tokenizer_config.json") if (folder.path / "tokenizer_config.json").is_file() else {}
    state, pad_token = tokenizer.state(), settings.get("pad_token")
    pad_token = pad_token.get("content") if isinstance(pad_token, dict) else pad_token
    token_id = Tokenizer.from_str(state["tokenizer"]).token_to_id(str(pad_token))
    reader = PaddedTokenizer(
        tokenizer.max_length,
        pad_id if token_id is None else token_id,
        "left" if settings.get("padding_side") == "left" else "right",
        # Which reads any tokenizer.json in lower case; transformers uses it for SigLIP 2, whatever the file says.
        folder.model_type == "siglip2" or settings.get("tokenizer_class") == "Siglip2Tokenizer",
    )
    reader.restore(state)
    return reader


CONVERTERS = dict.fromkeys(("clip", "siglip", "siglip2"), _convert)
