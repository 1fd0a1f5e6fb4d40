"""Training a space: objectives, their logged losses, and the optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import files
from ..arguments import Count, Distinct, Dropout, Natural, NonNegative, Positive, Range, Share, check_shape
from ..config import Configurable, from_config, to_config
from ..data.table import TableData
from ..encoders import Encoder, SequenceEncoder
from ..errors import MismatchError, UsageError, did_you_mean
from ..objectives import Objective, Teacher, distributed
from ..ragged import Ragged
from ..readers import Reader
from ..space import checkpoint, exported, model_folder
from ..space.encoded import Encoded
from ..space.score import Metric
from ..space.space import Space, check_names
from . import hardware, optim, schedules
from .label_prediction import LabelPrediction
from .mixup import mix_rows
from .shareable import Shareable

# B rows, N vectors, D dimension of the space

TABLE_FIX = "write trainer.fit(model, TableData(table)), where a table is a file, a DataFrame or rows as dicts"


class JointEmbedding(Configurable, LabelPrediction, Shareable, lightning.LightningModule):
    """A `Space`, what it is trained for, and how.

    Args:
        dim: number of dimensions; see `Space`.
        encoders: a name and what encodes it; see `Space`.
        objectives: what the space is trained for.
        columns: columns that share an encoder: `{en: text, de: text}`.
        pools: columns whose pieces are read in their order: `{history: CausalTransformer}`.
        fusions: columns made of other columns: `{home: [words, facts, place]}`.
        fusion_hidden: hidden layers of the network that fuses; `[64]` if not given.
        modality_dropout: share of training rows in which a part of a fusion is left out: `{film: 0.3}`.
        metric: how near two vectors are: `cosine`, `euclidean` or `dot`; see `Space`.
        matryoshka_dims: nested dimensions (Kusupati et al. 2022): each objective averages over these prefixes of the
            vectors.
        mixup: in training, mix the rows of these columns two by two, by shares of Beta(a, a), and their targets with
            them: `{audio: 0.4}` (Zhang et al. 2018).
        grad_cache_chunk: recompute the encoders and the scores in the backward pass, for this many rows at a time
            (GradCache, Gao et al. 2021): the exact gradients of a large batch in the memory of a small one. 0: keep
            all activations.
        lr: learning rate of the networks.
        sparse_lr: learning rate of large tables with sparse gradients.
        encoder_lr: learning rates of encoders that have their own: `{audio: 1.0e-5}`. What comes after an encoder, such
            as its projection into this space, has `lr`.
        layer_lr_decay: for encoders, the learning rate of a layer as a share of that of the next one, whose last layer
            has that of the encoder: `{audio: 0.8}` (Clark et al. 2020).
        weight_decay: of the networks.
        uncertainty_weights: learn the weight of each objective, beside its own `weight`: the inverse of a variance that
            pays for its size (Kendall, Gal and Cipolla 2018). Losses that stay high then weigh less.
        optimizer: of the networks: `adamw`, `adam`, `sgd` (with momentum) or `adagrad`. Large tables with sparse
            gradients have row-wise Adagrad.
        schedule: of the learning rate: `cosine`, `constant`, `one_cycle`, or `reduce_on_plateau`, which halves it when
            `dev/loss` has not fallen for three evaluations. See `jointembed.training.schedules`.
        warmup: share of the steps in which the learning rate rises at first.
        description: a sentence about the model, shown to whoever uses it.
    """

    settings_name = "model"

    def __init__(
        self,
        dim: Count,
        encoders: dict[str, Encoder],
        objectives: list[Objective],
        columns: dict[str, str] | None = None,
        pools: dict[str, SequenceEncoder] | None = None,
        fusions: dict[str, list[str]] | None = None,
        fusion_hidden: list[Count] | None = None,
        modality_dropout: dict[str, Dropout] | None = None,
        metric: Metric = "cosine",
        matryoshka_dims: Annotated[list[Count], Distinct()] | None = None,
        mixup: dict[str, Positive] | None = None,
        grad_cache_chunk: Natural = 0,
        lr: Positive = 1e-3,
        sparse_lr: Positive = 0.05,
        encoder_lr: dict[str, Positive] | None = None,
        layer_lr_decay: dict[str, Annotated[float, Range(0, 1, open_low=True)]] | None = None,
        weight_decay: NonNegative = 0.01,
        uncertainty_weights: bool = False,
        optimizer: str = "adamw",
        schedule: str = "cosine",
        warmup: Share = 0.05,
        description: str = "",
    ) -> None:
        super().__init__()
        # An encoder that columns share is a column of its own where an objective names it.
        needed = {column for objective in objectives for column in objective.columns()}
        columns = {name: name for name in encoders if name in needed and name not in (fusions or {})} | (columns or {})
        self.space = Space(dim, encoders, columns, pools, fusions, fusion_hidden, modality_dropout, metric)
        self.space.description = description
        self.space.predicted_columns = frozenset(
            column for objective in objectives for column in objective.readers() if column not in self.space.columns
        )
        self.objectives = nn.ModuleList(objectives)
        # (O,) log of the variance of each objective's loss
        self.log_variances = nn.Parameter(torch.zeros(len(objectives))) if uncertainty_weights else None
        self.matryoshka_dims, self.mixup = list(matryoshka_dims or []), dict(mixup or {})
        self.grad_cache_chunk = grad_cache_chunk
        self.lr, self.sparse_lr, self.weight_decay, self.warmup = lr, sparse_lr, weight_decay, warmup
        self.optimizer_name, self.schedule_name = optimizer, schedule
        self.encoder_lr, self.layer_lr_decay = dict(encoder_lr or {}), dict(layer_lr_decay or {})
        self.last_losses: Tensor | None = None  # (O,) of the objectives in the last training step, of all processes
        self._check(needed)

    def _check(self, needed: Collection[str]) -> None:
        space = self.space
        columns = [*space.columns, *space.fusions]
        for column in sorted(set(needed) - set(columns)):
            raise UsageError(column, "an objective names it, but nothing encodes it", did_you_mean(column, columns))
        for dim in self.matryoshka_dims:
            if dim > space.dim:
                wrong = f"prefixes must have 1 to {space.dim} dimensions, got {dim}"
                raise UsageError("matryoshka_dims", wrong, "leave it out")
        for setting, name, names in (
            ("optimizer", self.optimizer_name, [*optim.OPTIMIZERS]),
            ("schedule", self.schedule_name, schedules.NAMES),
        ):
            if name not in names:
                raise UsageError(
                    setting, f"it must be one of {', '.join(names)}, got {name!r}", did_you_mean(name, names)
                )
        for setting, rates in (("encoder_lr", self.encoder_lr), ("layer_lr_decay", self.layer_lr_decay)):
            check_names(setting, rates, space.encoders, "encoder")
        check_names("mixup", self.mixup, space.columns)
        for column in self.mixup:
            if column in space.pools:
                raise UsageError(f"mixup.{column}", "lists that are read in order cannot be mixed", "leave it out")
            for name, parts in space.fusions.items():
                if column in parts:
                    wrong = f"it is part of the fusion {name}, whose targets would not be mixed"
                    raise UsageError(f"mixup.{column}", wrong, "leave it out")
            for objective in self._objectives:
                if column in objective.columns() and not objective.supports_mixup:
                    wrong = f"{objective.name} draws its candidates for rows that are not mixed"
                    raise UsageError(f"mixup.{column}", wrong, "leave it out of `mixup`, or use other candidates")

    @property
    def _objectives(self) -> Sequence[Objective]:
        return cast("Sequence[Objective]", self.objectives)

    # -- what the data module asks ------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether the readers are fitted and the parameters made."""
        return self.space.built

    def readers(self) -> list[tuple[Reader, list[str]]]:
        """All readers, each with the columns that it reads and is fitted on."""
        own = [(reader, [column]) for objective in self._objectives for column, reader in objective.readers().items()]
        return [*self.space.readers(), *own]

    @property
    def cached_columns(self) -> set[str]:
        """Columns whose encoders do not change in training, so that the vectors of their pieces are cached.

        The cache is that of an encoder, so columns are left out that its reader reads differently.
        """
        encoders = {column: self.space.encoder(column) for column in self.space.columns}
        return {
            column
            for column, encoder in encoders.items()
            if encoder.cached and encoder.reader.for_column(column) is encoder.reader
        }

    @property
    def teachers(self) -> dict[str, Teacher]:
        """Trained models whose vectors the objectives take from the batch, by their names in it."""
        return {name: teacher for objective in self._objectives for name, teacher in objective.teachers().items()}

    @property
    def key_columns(self) -> set[str]:
        """Columns whose keys are needed only, to tell which rows are equal there."""
        return {column for objective in self._objectives for column in objective.key_columns()}

    def build(self) -> None:
        """Make all parameters, at the sizes that the fitted readers know; a second call changes nothing."""
        if not self.built:
            self.space.build()
            for objective in self._objectives:
                objective.build(self.space)

    def setup(self, stage: str) -> None:
        """Check that the trainer trains models as they are defined here, whatever its class."""
        hardware.check_trainer(self.trainer)

    def configure_model(self) -> None:
        """Make all parameters; with `TableData`, that has been done.

        Raises:
            UsageError: the readers have not been fitted, and the trainer has no `TableData` to do it.
        """
        try:
            self.build()
        except UsageError as error:
            if self._trainer is None or isinstance(getattr(self.trainer, "datamodule", None), TableData):
                raise
            wrong = f"the model learns its vocabularies from a table, and the trainer has none ({error.problem})"
            raise UsageError("trainer", wrong, TABLE_FIX) from error
        if distributed.rank():
            # Dropout and the like differ between processes; the parameters are those of the first.
            torch.manual_seed(torch.initial_seed() + distributed.rank())

    def parameter_counts(self) -> dict[str, tuple[int, int]]:
        """The number of parameters of each part of the model, and how many of them are trained.

        The parts are the columns, with those that share an encoder together, the pools, the fusions and the objectives.
        """
        space, parts = self.space, dict[str, list[nn.Module]]()
        for name, encoder in space.encoders.items():
            columns = [column for column, encoder_name in space.columns.items() if encoder_name == name]
            parts[", ".join(columns)] = [encoder, space.projections[name]]
        parts |= {f"{name}, in order": [pool] for name, pool in space.pools.items()}
        parts |= {name: [network] for name, network in space.fusion_networks.items()}
        parts["objectives"] = [self.objectives]
        counts = {}
        for name, modules in parts.items():
            parameters = {parameter for module in modules for parameter in module.parameters()}
            trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
            counts[name] = sum(parameter.numel() for parameter in parameters), trained
        return counts

    # -- training -----------------------------------------------------------------------------------------------------

    def forward(self, batch: dict[str, Ragged]) -> dict[str, Encoded]:
        """The vectors of every column of a batch.

        Raises:
            UsageError: it does not come from `TableData`.
        """
        if not (isinstance(batch, dict) and all(isinstance(column, Ragged) for column in batch.values())):
            raise UsageError("batch", f"expected columns of `TableData`, got {_describe_batch(batch)}", TABLE_FIX)
        mixes = {}
        if self.training and self.mixup:
            batch = dict(batch)
            for column, alpha in self.mixup.items():
                batch[column], mixes[column] = mix_rows(batch[column], alpha, column)
        pieces = {column for objective in self._objectives for column in objective.piece_columns()}
        encoded: dict[str, Encoded] = self.space(batch, pieces, self.grad_cache_chunk)
        for column, mix in mixes.items():
            encoded[column].mix = mix
        return encoded

    def compute_loss(
        self, objective: Objective, encoded: dict[str, Encoded], batch: dict[str, Ragged], dim: int | None = None
    ) -> Tensor:
        """The loss of an objective, a number, in float32 whatever the precision of the encoders."""
        with torch.autocast(self.space.device.type, enabled=False):  # in bfloat16 near scores would be equal
            loss: Tensor = objective(encoded, batch, self.space, dim)
        check_shape(objective, "forward", loss, ())
        return loss

    def losses(self, batch: dict[str, Ragged]) -> dict[str, Tensor]:
        """The weighted loss of each objective, under its number and name."""
        encoded = self(batch)
        losses = {}
        for number, objective in enumerate(self._objectives):
            dims = self.matryoshka_dims if objective.uses_score and self.matryoshka_dims else [None]
            values = [self.compute_loss(objective, encoded, batch, dim) for dim in dims]
            loss = torch.stack(values).mean()
            if self.log_variances is not None:
                loss = loss * (-self.log_variances[number]).exp() + self.log_variances[number] / 2
            losses[f"{number}_{objective.name}"] = objective.weight * loss
        if distributed.world() > 1 and losses:
            # DDP waits for a gradient of each parameter, also of an encoder that no objective needs.
            name, loss = losses.popitem()
            losses[name] = loss + 0 * torch.stack([column.z.sum() for column in encoded.values()]).sum()
        return losses

    def _log_losses(self, stage: str, batch: dict[str, Ragged], step: bool) -> Tensor:
        losses = self.losses(batch)
        parts, rows = torch.stack(list(losses.values())), len(next(iter(batch.values())))
        means = distributed.average(parts)  # the batches of all processes are one, and its losses are logged
        if step:
            self.last_losses = means
        logged = {f"{stage}/loss": means.sum()}
        if not step:
            logged |= {f"{stage}/{name}": mean for name, mean in zip(losses, means, strict=True)}
            rows = distributed.total(rows, parts.device)
        self.log_dict(logged, on_step=step, on_epoch=not step, batch_size=rows, prog_bar=False, sync_dist=not step)
        return parts.sum()

    def training_step(self, batch: dict[str, Ragged], number: int) -> Tensor:
        """The sum of all objectives."""
        return self._log_losses("train", batch, True)

    def validation_step(self, batch: dict[str, Ragged], number: int) -> Tensor:
        """The same objectives on rows that are not trained on."""
        return self._log_losses("dev", batch, False)

    def test_step(self, batch: dict[str, Ragged], number: int) -> Tensor:
        """The same objectives on the rows that are reported on."""
        return self._log_losses("test", batch, False)

    def predict_step(self, batch: dict[str, Ragged], number: int) -> dict[str, Tensor]:
        """The vectors (B, D) of every column, as `Space.embed` gives them; NaN in rows without a cell."""
        vectors = {}
        for column, encoded in self(batch).items():
            z = functional.normalize(encoded.z, dim=-1) if self.space.metric == "cosine" else encoded.z
            vectors[column] = z.masked_fill(~encoded.present[:, None], torch.nan)
        return vectors

    def configure_optimizers(self) -> Any:
        """The optimizer of the networks, row-wise Adagrad for large tables, and the schedule of the learning rate."""
        layers = [
            layer
            for name, encoder in self.space.encoders.items()
            if name in self.encoder_lr or name in self.layer_lr_decay
            for layer in optim.decay_layers(
                name, encoder, self.encoder_lr.get(name, self.lr), self.layer_lr_decay.get(name, 1.0)
            )
        ]
        groups = optim.parameter_groups(self, layers)
        if not groups:
            raise UsageError("model", "no parameter of it is trained", "give an encoder `trainable`")
        for name in sorted({*self.encoder_lr, *self.layer_lr_decay}):
            if not any(group.get("name", "").partition(".")[0] == name for group in groups):
                setting = "encoder_lr" if name in self.encoder_lr else "layer_lr_decay"
                raise UsageError(f"{setting}.{name}", "the encoder is frozen", "leave it out, or give it `trainable`")
        optimizer = optim.OPTIMIZERS[self.optimizer_name](groups, self.lr, self.weight_decay, self.sparse_lr)
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "steps"):
            return optimizer
        if self.schedule_name == schedules.ON_PLATEAU and not len(data.numbers("dev")):
            fix = "choose another schedule, or give the table rows of the split dev"
            raise UsageError("schedule", f"{schedules.ON_PLATEAU} needs dev rows, and there are none", fix)
        # Lightning's own estimate would make a resumed run forget its place in the data.
        total, every = data.steps(self.trainer), self.trainer.check_val_every_n_epoch or 1
        schedule = schedules.make_schedule(self.schedule_name, optimizer, total, self.warmup, every)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the dense gradients by their common norm, or by value, if the trainer asks for it."""
        if gradient_clip_val:
            optim.clip_dense_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm == "value")

    # -- saving -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What makes this model besides its weights, as plain data for a checkpoint."""
        model = to_config(self)
        shared = inspect.signature(Space).parameters  # of these, the space has its own record
        model["init_args"] = {name: value for name, value in model["init_args"].items() if name not in shared}
        readers = [
            {name: reader.state() for name, reader in objective.readers().items()} for objective in self._objectives
        ]
        return {**self.space.state(), "model": model, "objective_readers": readers}

    def restore(self, content: dict[str, Any]) -> None:
        """Give the readers what a checkpoint holds of them, then build; nothing happens if that has been done.

        Raises:
            MismatchError: the checkpoint belongs to a model with other columns.
        """
        state = content[checkpoint.KEY]
        built, states = self.built, state.get("objective_readers", [])
        if [sorted(names) for names in states] != [sorted(objective.readers()) for objective in self._objectives]:
            raise MismatchError(
                "checkpoint", "it has other objectives than the recipe", "use the recipe that it was trained with"
            )
        self.space.restore(state)
        if not built:
            for objective, readers in zip(self._objectives, states, strict=True):
                for name, reader in objective.readers().items():
                    reader.restore(readers[name])
                objective.build(self.space)

    def on_fit_start(self) -> None:
        """Check that there is something to train for.

        Raises:
            UsageError: there is not.
        """
        if not self.objectives:
            raise UsageError("model.objectives", "the list is empty", "add an objective, such as Match")

    def on_save_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Put what makes this model into its checkpoint: its configuration and what its readers know."""
        checkpoint_[checkpoint.KEY] = self.state()

    def on_load_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Take the readers from the checkpoint and build at their sizes, unless that has been done."""
        self.restore(checkpoint_)
        if exported.GOLDEN in checkpoint_:
            path = Path(str(self.trainer.ckpt_path)) if self._trainer else Path(model_folder.CONFIG)
            checkpoint.load_weights(self, checkpoint_["state_dict"], path)
            checkpoint.check_golden(self.space, checkpoint_, path)

    @classmethod
    def load(cls, path: str | Path, trust: Collection[str] = ()) -> JointEmbedding:
        """Load the model of a checkpoint, a run folder (its best) or an exported model.

        For vectors alone, `Space.load` is enough.

        Args:
            path: a .ckpt file, or a folder that `fit` or `export` wrote.
            trust: packages whose encoders, readers and objectives may be imported.

        Raises:
            UsageError: the file does not exist.
            UnsafeError: it names classes that are not trusted.
            DamagedError: it is damaged.
        """
        file = files.checkpoint(path)
        content = checkpoint.read(file)
        with checkpoint.describing(file):
            state = content[checkpoint.KEY]
            # The checkpoint of a space alone is that of a model without objectives.
            name = f"{cls.__module__}.{cls.__name__}"
            config = state.get("model", {"class_path": name, "init_args": {"objectives": []}})
            arguments = {**state["space"]["init_args"], **config["init_args"], "description": state["description"]}
            model = from_config({"class_path": config["class_path"], "init_args": arguments}, trust, str(file))
            if not isinstance(model, JointEmbedding):
                fix = "use a checkpoint that `jointembed fit` wrote"
                raise MismatchError(file, "it does not describe a model", fix)
            names = state["space"]["init_args"]  # that are part of the fingerprint: a space alone has only its own
            arguments = model.space._init_args
            model.space._init_args = {name: value for name, value in arguments.items() if name in names}
            model.restore(content)
        checkpoint.load_weights(model, content["state_dict"], file)
        checkpoint.check_golden(model.space, content, file)
        return model.eval()

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        trust: Collection[str] = (),
        **settings: Any,
    ) -> JointEmbedding:
        """What Lightning calls `load`, which see. A checkpoint holds all settings of its model, and code is never read.

        Args:
            checkpoint_path: see `load`.
            map_location: the device to load to; the CPU if not given.
            hparams_file: not needed.
            strict: the names of all weights always match.
            weights_only: it is always so.
            trust: see `load`.
            settings: not taken.

        Raises:
            UsageError: a setting of the model is given; see `load` for more.
        """
        if names := [*settings, *(["hparams_file"] if hparams_file else [])]:
            fix = "leave it out, or set it in a recipe and begin a new run"
            raise UsageError(", ".join(names), "a setting of a trained model is that of its checkpoint", fix)
        model = cls.load(checkpoint_path, trust)
        return model if map_location is None else model.to(map_location)

    def save(self, path: str | Path) -> None:
        """Write the model, without the state of its training, as a checkpoint that `load` and `Space.load` read."""
        checkpoint.write(Path(path), self.content())

    def content(self) -> dict[str, Any]:
        """What a checkpoint of the model holds, without the state of its training."""
        data = getattr(self._trainer, "datamodule", None)
        table = {model_folder.TABLE: data.state_dict()} if isinstance(data, TableData) else {}
        return {"state_dict": self.state_dict(), checkpoint.KEY: self.state(), **table}


def _describe_batch(batch: Any) -> str:
    """The type of a batch of a DataLoader, and what is in it."""
    items = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, list | tuple) else ()
    kinds = ", ".join(dict.fromkeys(type(item).__name__ for item in items))
    return f"a {type(batch).__name__}" + (f" of {kinds}" if kinds else "")
