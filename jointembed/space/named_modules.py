"""Modules under the names of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


class NamedModules(nn.Module, Generic[M]):
    """A dictionary of modules whose keys may be any text.

    `torch.nn.ModuleDict` refuses names that are attributes of its own, such as `type` or `keys`, and names with a dot.
    """

    def __init__(self, modules: Mapping[str, M] | None = None) -> None:
        super().__init__()
        for name, module in (modules or {}).items():
            self[name] = module

    @staticmethod
    def _quote(name: str) -> str:
        return "[" + name.replace("%", "%25").replace(".", "%2E") + "]"

    def __setitem__(self, name: str, module: M) -> None:
        self.add_module(self._quote(name), module)

    def __getitem__(self, name: str) -> M:
        return cast(M, self._modules[self._quote(name)])

    def __contains__(self, name: object) -> bool:
        return self._quote(str(name)) in self._modules

    def __iter__(self) -> Iterator[str]:
        return (key[1:-1].replace("%2E", ".").replace("%25", "%") for key in self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def items(self) -> Iterator[tuple[str, M]]:
        """The names and their modules."""
        return ((name, self[name]) for name in self)
