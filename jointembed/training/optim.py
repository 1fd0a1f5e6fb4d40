"""Optimizers for dense and for sparse gradients, and the groups of parameters that they work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer


class RowwiseAdagrad(Optimizer):
    """What makes an optimizer of dense gradients one of both: row-wise Adagrad for tables with sparse gradients.

    A step touches a few thousand rows of a table of 500,000. Only these are read and written, and each has one number,
    the sum of the mean squares of its gradients (as in Facebook's DLRM), instead of Adam's two per value.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._step_supports_amp_scaling = False  # a fused step would unscale the dense gradients only

    def _forget_tables(self) -> None:
        """Drop what the optimizer of dense gradients has made for the tables."""
        for group in self.param_groups:
            if group["sparse"]:
                for table in group["params"]:
                    self.state.pop(table, None)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step; the closure, if given, computes the loss and the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups, dense = self.param_groups, [group for group in self.param_groups if not group["sparse"]]
        self.param_groups = dense
        try:
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group["sparse"]:
                for table in group["params"]:
                    if table.grad is not None:
                        self._adagrad_step(table, group["lr"])
        return loss

    def _adagrad_step(self, table: Tensor, lr: float) -> None:
        gradient = table.grad
        assert gradient is not None
        if not gradient.is_sparse:
            gradient = gradient.to_sparse(1)
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        state = self.state[table]
        if not state:
            state["squares"] = table.new_zeros(len(table))
            state["step"] = torch.zeros(())  # a resumed run fails without it: Adam looks for it in every state
        squares = state["squares"]
        squares.index_add_(0, rows, values.square().mean(1))
        step = values * (squares[rows].add(1e-10).rsqrt() * -lr).unsqueeze(1)
        table.index_add_(0, rows, step)


class AdamWWithSparseAdagrad(RowwiseAdagrad, AdamW):
    """AdamW (Loshchilov and Hutter 2019) for dense gradients, row-wise Adagrad for sparse ones.

    Args:
        params: parameters or groups of them; in a group, `sparse=True` marks tables with sparse gradients.
        lr: learning rate of the dense parameters.
        weight_decay: of the dense parameters.
        sparse_lr: learning rate of the tables.
        betas: of AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        sparse_lr: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        # Fused, the tables are gone through once a step and not six times: four to five times faster on a CPU.
        super().__init__(_mark_tables(params, sparse_lr), lr=lr, weight_decay=weight_decay, betas=betas, fused=True)


class AdamWithSparseAdagrad(RowwiseAdagrad, Adam):
    """Adam (Kingma and Ba 2015), whose weight decay is a part of the gradient; see `AdamWWithSparseAdagrad`."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, sparse_lr: float) -> None:
        betas = (0.9, 0.98)
        super().__init__(_mark_tables(params, sparse_lr), lr=lr, weight_decay=weight_decay, betas=betas, fused=True)


class SGDWithSparseAdagrad(RowwiseAdagrad, SGD):
    """Stochastic gradient descent with Nesterov's momentum of .9; see `AdamWWithSparseAdagrad`."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, sparse_lr: float) -> None:
        groups = _mark_tables(params, sparse_lr)
        super().__init__(groups, lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True, fused=True)


class AdagradWithSparseAdagrad(RowwiseAdagrad, Adagrad):
    """Adagrad (Duchi et al. 2011), with a number for each value of the networks; see `AdamWWithSparseAdagrad`."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, sparse_lr: float) -> None:
        super().__init__(_mark_tables(params, sparse_lr), lr=lr, weight_decay=weight_decay, fused=True)
        self._forget_tables()


OPTIMIZERS: dict[str, Callable[[Iterable[Any], float, float, float], Optimizer]] = {
    "adamw": AdamWWithSparseAdagrad,
    "adam": AdamWithSparseAdagrad,
    "sgd": SGDWithSparseAdagrad,
    "adagrad": AdagradWithSparseAdagrad,
}


def _mark_tables(params: Iterable[Any], sparse_lr: float) -> list[dict[str, Any]]:
    """Parameters in groups that say whether they are tables with sparse gradients."""
    groups = list(params)
    groups = groups if groups and isinstance(groups[0], dict) else [{"params": groups}]
    for group in groups:
        group.setdefault("sparse", False)
        if group["sparse"]:
            group.setdefault("lr", sparse_lr)
    return groups


def split_layers(module: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of a network, layer by layer, in the order in which it registers them: that of their depth.

    A block of a numbered list is a layer (`blocks.0`), and so is what stands before, between and after such blocks.
    """
    layers: list[list[nn.Parameter]] = []
    before = None
    for name, parameter in module.named_parameters():
        parts = name.split(".")
        numbers = [place for place, part in enumerate(parts) if part.isdecimal()]
        block = parts[: numbers[0] + 1] if numbers else []
        if block != before:
            layers.append([])
        layers[-1].append(parameter)
        before = block
    return layers


def decay_layers(name: str, module: nn.Module, lr: float, decay: float) -> list[tuple[str, float, list[nn.Parameter]]]:
    """The layers of a network with their names and learning rates: `lr` for the last, less for each before it.

    Args:
        name: of the network.
        module: the network.
        lr: of its last layer.
        decay: of a layer, as a share of the learning rate of the next.
    """
    layers = split_layers(module)
    return [
        (f"{name}.{depth}", lr * decay ** (len(layers) - 1 - depth), parameters)
        for depth, parameters in enumerate(layers)
    ]


def parameter_groups(
    module: nn.Module, own_lr: Iterable[tuple[str, float, list[nn.Parameter]]] = ()
) -> list[dict[str, Any]]:
    """Parameters in groups: weights that decay; biases, norms and tables that do not; tables with sparse gradients.

    Args:
        module: the network; of its parameters, those that are trained.
        own_lr: parameters with a learning rate of their own, and the name of their groups.
    """
    tables = [child for child in module.modules() if isinstance(child, nn.Embedding | nn.EmbeddingBag)]
    sparse = {id(table.weight) for table in tables if table.sparse}
    undecayed = sparse | {id(table.weight) for table in tables}
    own = {id(parameter): (name, lr) for name, lr, parameters in own_lr for parameter in parameters}
    groups: dict[Any, dict[str, Any]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            decays = parameter.dim() > 1 and id(parameter) not in undecayed
            rank = 2 if id(parameter) in sparse else 0 if decays else 1
            name, lr = own.get(id(parameter), ("", None))
            options: dict[str, Any] = {"weight_decay": 0.0} if rank else {}
            options |= {"sparse": True} if rank == 2 else {}
            # Names are unique, which `LearningRateMonitor` asks for.
            options |= {"name": name + ("", ".undecayed", ".sparse")[rank], "lr": lr} if name else {}
            groups.setdefault((name, rank), {"params": [], **options})["params"].append(parameter)
    return [groups[key] for key in sorted(groups, key=lambda key: key[1])]


def clip_dense_gradients(optimizer: Optimizer, limit: float, by_value: bool = False) -> None:
    """Scale the dense gradients so that their common norm is at most `limit`; sparse ones are left alone.

    Clipping sparse gradients fails in torch 2.11.

    Args:
        optimizer: of the parameters.
        limit: of the norm, or of the absolute value of each number.
        by_value: cut each number off instead.
    """
    dense = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None and not parameter.grad.is_sparse
    ]
    clip: Callable[[list[Tensor], float], object] = nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_
    clip(dense, limit)
