"""Encoders that begin with the weights of a trained model: frozen, partly trained, or trained whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..arguments import Count
from ..encoders import Encoder, make_mlp
from ..errors import UsageError, did_you_mean
from ..ragged import Ragged
from ..space.space import Space
from .lora import LoRA, add_adapters, merge_adapters, restore_adapters
from .names import match_names

# B rows, P pieces, N vectors, W width of the encoder, D dimension of the space


def from_checkpoint(
    checkpoint: str,
    column: str | None = None,
    trainable: Literal["none", "all"] | list[str] = "none",
    projection: list[Count] | None = None,
    lora: LoRA | None = None,
    trust: list[str] | None = None,
) -> Tower:
    """An encoder that begins as a column of a trained or adopted model, for fine-tuning or as it is.

    A recipe names it where it would name the class of an encoder. The model that is trained has a copy of the weights,
    so that its own checkpoint needs no other file; only a resumed run reads `checkpoint` again.

        encoders:
          audio:
            class_path: jointembed.from_checkpoint
            init_args: {checkpoint: music.ckpt, column: audio, trainable: [stages.3, head], projection: []}

    or, with low-rank adapters (`pip install "jointembed[finetune]"`):

            init_args: {checkpoint: music.ckpt, column: audio, lora: {rank: 8, targets: ["*.attention.*"]}}

    Its reader stays as it was fitted: vocabularies and statistics are those of the checkpoint. Batch normalisation uses
    the statistics of the checkpoint, in training too.

    Args:
        checkpoint: a .ckpt file, or the folder of a run of `fit`.
        column: its column; not needed if it has only one.
        trainable: `none`: the encoder is frozen, and computes each cell only once: its vectors are cached beside the
            table. `all`: everything is trained. Or the names of parameters or layers, which may have wildcards:
            `[stages.3, "*.bias"]`; the layers of the checkpoint's own projection begin with `projection`.
        projection: hidden layers of a new network from the space of the checkpoint into this one, `[]` for a linear
            layer. If both have the same dimension, its output is added to its input and begins as 0, so that training
            begins at the vectors of the checkpoint. If not given, these are the vectors of the column itself; spaces of
            different dimensions are always joined by a linear layer.
        lora: train low-rank adapters of layers that are frozen otherwise. Checkpoints hold the weights with the
            adapters merged, and need no peft; beside them they hold the adapters, for `--ckpt_path`.
        trust: packages whose classes the checkpoint may name.

    Raises:
        UsageError: the checkpoint or the column does not exist, or no parameter has such a name.
        UnsafeError: the checkpoint names classes that are not trusted.
        DamagedError: the checkpoint is damaged.
    """
    space = Space.load(checkpoint, trust or ())
    if column is None and len(space.columns) == 1:
        column = next(iter(space.columns))
    if column not in space.columns:
        wrong = "it has several columns" if column is None else f"it has no column {column} with an encoder"
        raise UsageError(checkpoint, wrong, did_you_mean(column or "", space.columns))
    if column in space.pools:
        wrong = f"{column} is read in order by {type(space.pools[column]).__name__}"
        raise UsageError(checkpoint, wrong, "name a column without one, and give `pools` in this recipe")
    tower = Tower(space.encoder(column), space.dim, projection, column)
    tower.start(space.column(column).projection, trainable, lora)
    return tower


class Tower(Encoder):
    """An encoder that was trained in another space, and the network from there into this one.

    Args:
        encoder: the encoder.
        dim: dimension of the space that it was trained in.
        projection: see `from_checkpoint`.
        column: its column there, which it is read like.
    """

    def __init__(
        self, encoder: Encoder, dim: int, projection: list[Count] | None = None, column: str | None = None
    ) -> None:
        super().__init__(encoder.reader if column is None else encoder.reader.for_column(column), encoder.width)
        self.encoder, self.dim = encoder, dim
        self.hidden = projection
        self._started = self._frozen = False
        self._adapted: list[str] = []  # layers with adapters
        self.register_state_dict_post_hook(_merge_adapters)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_restore_adapters)  # type: ignore[no-untyped-call]

    def start(
        self, projection: nn.Module, trainable: Literal["none", "all"] | Sequence[str], lora: LoRA | None
    ) -> None:
        """Begin with the weights that the encoder has.

        Args:
            projection: from the encoder's vectors into the space that it was trained in.
            trainable: what is trained; see `from_checkpoint`.
            lora: its adapters.

        Raises:
            UsageError: no parameter has such a name, or it has an adapter.
        """
        self.projection = projection
        self._started = self.reader.is_fitted = True
        if trainable == "all":
            if lora:
                raise UsageError("lora", "all weights are trained already", "leave out `trainable: all`")
            return
        names = {
            **{f"projection.{name}": parameter for name, parameter in projection.named_parameters()},
            **dict(self.encoder.named_parameters()),
        }
        self.requires_grad_(False)
        self._adapted = add_adapters(self.encoder, lora) if lora else []
        for name in match_names("trainable", [] if trainable == "none" else trainable, names):
            if name.rpartition(".")[0] in self._adapted:
                raise UsageError(f"trainable: {name}", "its layer has an adapter", "leave it out, or out of `lora`")
            names[name].requires_grad_(True)
        self._frozen = not any(parameter.requires_grad for parameter in self.encoder.parameters())
        self.cached = self._frozen and self.encoder.vocabulary_vectors() is None  # a table is looked up as fast

    def build(self, dim: int) -> None:
        """Make the parameters, unless the encoder has its weights already."""
        if not self._started:
            self.encoder.build(self.dim)
            self.projection = self.encoder.make_projection(self.dim)
        self.width = self.encoder.width

    def make_projection(self, dim: int) -> nn.Module:
        """The network (N, W) -> (N, D): the projection of the checkpoint, then that into this space."""
        if self.hidden is None:
            network: nn.Module = nn.Identity() if dim == self.dim else nn.Linear(self.dim, dim)
        else:
            network = make_mlp(self.dim, self.hidden, dim)
            network = _Residual(network) if dim == self.dim else network
        return nn.Sequential(self.projection, network)

    def train(self, mode: bool = True) -> Tower:
        """Set the mode; what is frozen, and batch normalisation, stay as for inference."""
        super().train(mode)
        if self._frozen:
            self.encoder.eval()
        for module in self.encoder.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, W)."""
        return x.values if x.is_encoded else self.encoder.pieces(x)

    def pool(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of pieces h (P, W) -> one a row (B, W), as the encoder does."""
        return self.encoder.pool(h, x)

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Pieces (P, ...) -> (P, W); see `Encoder.embed_arrays`."""
        return self.encoder.embed_arrays(values)

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids (B, T) -> (B, W); see `Encoder.embed_tokens`."""
        return self.encoder.embed_tokens(ids, mask)

    def pool_windows(self, h: Tensor) -> Tensor:
        """(B, P, W) -> (B, W); see `Encoder.pool_windows`."""
        return self.encoder.pool_windows(h)

    def forward(self, x: Ragged) -> Tensor:
        """One vector per row: (B, W)."""
        return self.pool(x.values, x) if x.is_encoded else cast(Tensor, self.encoder(x))

    @property
    def pools_by_mean(self) -> bool:
        """See `Encoder.pools_by_mean`."""
        return self.encoder.pools_by_mean

    def length(self, x: Ragged) -> Tensor:
        """(P,) how long each piece is computed; see `Encoder.length`."""
        return self.encoder.length(x)

    def batches(self, x: Ragged, size: int | None) -> list[Tensor]:
        """The numbers of the pieces of each batch; see `Encoder.batches`."""
        return self.encoder.batches(x, size)

    def vocabulary_vectors(self) -> Tensor | None:
        """The vectors (K, W) of all K ids that its reader knows, if it has a table of them."""
        return self.encoder.vocabulary_vectors()

    @property
    def fingerprint(self) -> str:
        """That of the encoder; see `Encoder.fingerprint`."""
        return self.encoder.fingerprint


def _merge_adapters(tower: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    merge_adapters(tower.encoder, tower._adapted, state, f"{prefix}encoder.", f"{prefix}adapters.")


def _restore_adapters(tower: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    restore_adapters(tower.encoder, tower._adapted, state, f"{prefix}encoder.", f"{prefix}adapters.")
    for key in [key for key in state if key.startswith(f"{prefix}adapters.")]:  # merged already
        del state[key]


class _Residual(nn.Module):
    """Adds the output (N, D) of a network to its input (N, D); at first the output is 0."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.network = network
        last = cast(nn.Linear, network[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.network(x))
