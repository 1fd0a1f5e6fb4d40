"""Words as points of the space of musicnn: a text means some of its tags, and becomes a mixture of their points."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ...encoders import Encoder
from ...ragged import Ragged
from ...readers import TokenReader
from .encoder import WIDTH

# P texts, K names of tags, T tags, W width of the text encoder

MEANINGS = Path(__file__).with_name("meanings.csv")
TEMPERATURE = 1 / 30
LITERAL_BONUS = 0.1  # "sad music" means sad before anything else


def read_names(tags: Sequence[str]) -> list[list[str]]:
    """The names of each tag: its own, then the aspects of MusicCaps that plainly mean it."""
    rows = csv.DictReader(MEANINGS.read_text("utf-8").splitlines())
    aspects = {row["tag"]: row["aspects"].split("|") for row in rows}
    return [[tag, *aspects.get(tag, [])] for tag in tags]


class TagMixtureEncoder(Encoder):
    """Texts as mixtures of tags: each tag weighs as the softmax of the cosine of the text with the best of its names.

    Nothing is trained: the names of the tags are read by the same network as the text.

    Args:
        text: the encoder of texts, such as MiniLM.
        names: the names of each of T tags.
        temperature: of the softmax.
        literal_bonus: added to the cosine of a tag whose own name stands in the text.
    """

    reader: TokenReader
    names_of_tags: Tensor
    points: Tensor

    def __init__(
        self,
        text: Encoder,
        names: list[list[str]],
        temperature: float = TEMPERATURE,
        literal_bonus: float = LITERAL_BONUS,
    ) -> None:
        super().__init__(text.reader, WIDTH)
        self.text, self.names, self.temperature, self.literal_bonus = text, names, temperature, literal_bonus

    def build(self, dim: int) -> None:
        """Make the network, and room for the vectors of the names (K, W) and the points of the tags (T, 331)."""
        self.text.build(dim)
        count = sum(map(len, self.names))
        self.register_buffer("names_of_tags", torch.zeros(count, self.text.width))
        self.register_buffer("points", torch.zeros(len(self.names), WIDTH))

    @torch.inference_mode()
    def fit_names(self, points: Tensor) -> None:
        """Compute the vectors of the names once the text encoder has its weights, and set the points of the tags."""
        names = [name for own in self.names for name in own]
        vectors = torch.cat([self.text(self.reader.encode([name])) for name in names])
        self.names_of_tags.copy_(F.normalize(vectors, dim=1))
        self.points.copy_(points)

    def length(self, x: Ragged) -> Tensor:
        """(P,) see `Encoder.length`: that of the text encoder."""
        return self.text.length(x)

    def batches(self, x: Ragged, size: int | None) -> list[Tensor]:
        """See `Encoder.batches`: those of the text encoder."""
        return self.text.batches(x, size)

    def pieces(self, x: Ragged) -> Tensor:
        """A point for each text: (P, 331)."""
        vectors, texts = F.normalize(self.text.pieces(x), dim=1), self._spell(x)
        if not texts:
            return vectors.new_zeros(0, WIDTH)
        return torch.stack([self._mix(vector, text) for vector, text in zip(vectors, texts, strict=True)])

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Subwords (P, T) -> a point for each text (P, 331); see `Encoder.embed_arrays`."""
        vectors = F.normalize(self.text.embed_tokens(ids, mask), dim=1)
        cosines = torch.split(vectors @ self.names_of_tags.T, [len(names) for names in self.names], 1)
        words = [list(map(int, name.split())) for name in self._own_names]
        longest, anything, nothing = max(map(len, words)), -1, -2
        names = torch.tensor([[*word, *[anything] * (longest - len(word))] for word in words])  # (T, L)
        padded = F.pad(ids.masked_fill(~mask, nothing), (0, longest - 1), value=nothing)
        stretches = padded.unfold(1, longest, 1)[:, :, None]  # (P, S, 1, L)
        named = ((stretches == names) | (names == anything)).all(3).any(1)
        best = torch.stack([part.amax(1) for part in cosines], 1) + self.literal_bonus * named
        return (best / self.temperature).softmax(1) @ self.points

    def _mix(self, vector: Tensor, text: str) -> Tensor:
        """The point of one text, computed alone: products of whole batches have other bits than those of a vector."""
        parts = torch.split(self.names_of_tags @ vector, [len(names) for names in self.names])
        named = vector.new_tensor([name in text for name in self._own_names])
        best = torch.stack([part.amax() for part in parts]) + self.literal_bonus * named  # (T,)
        return (best / self.temperature).softmax(0) @ self.points

    @cached_property
    def _own_names(self) -> list[str]:
        return [self._spell(self.reader.encode([own[0]]))[0] for own in self.names]

    def _spell(self, x: Ragged) -> list[str]:
        """The subwords of each text as a string that has those of a name within it as a substring."""
        assert x.offsets is not None
        special = set(self.reader.token_ids(""))
        parts = torch.split(x.values, x.offsets.diff().tolist())
        return [" ".join(["", *(str(id) for id in part.tolist() if id not in special), ""]) for part in parts]
