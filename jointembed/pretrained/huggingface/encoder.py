"""Networks of transformers as encoders, built from plain settings, with their weights in the checkpoint."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...encoders import Encoder
from ...errors import MismatchError, UsageError, did_you_mean
from ...readers import Reader


@dataclass(frozen=True)
class Architecture:
    """An architecture of transformers: its classes, and how it embeds a batch.

    Args:
        module: the module under `transformers.models`.
        config: the class of its configuration.
        network: the class of the network.
        embed: computes a batch with the network; the encoder of the family says what it takes and gives.
        width: the setting that is the width of its vectors; of a list, its last number.
        prefix: the prefix of its weights in a whole model.
        options: further arguments of the network.
        undeclared: settings that its configuration takes besides those that it declares.
    """

    module: str
    config: str
    network: str
    embed: Callable[..., Tensor]
    width: str = "hidden_size"
    prefix: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    undeclared: tuple[str, ...] = ()

    def import_class(self, file: str, name: str) -> Any:
        """A class of transformers from `configuration_...` or `modeling_...`."""
        return getattr(importlib.import_module(f"transformers.models.{self.module}.{file}_{self.module}"), name)

    def make_config(self, settings: dict[str, Any]) -> Any:
        """The configuration object of transformers.

        Only settings of the architecture are used, so that no key can name code, a kernel or another file.

        Raises:
            UsageError: a setting has the wrong type.
        """
        from huggingface_hub.errors import StrictDataclassError

        names = sorted({*self.setting_names(), *self.undeclared})
        try:
            return self.import_class("configuration", self.config)(
                **{name: settings[name] for name in names if name in settings}
            )
        except (StrictDataclassError, TypeError, ValueError) as error:
            fix = "get the model from its maker again"
            raise UsageError(self.config, f"its settings are not valid ({error})", fix) from error

    def complete_settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        """All settings of the architecture as plain data, including the defaults of this version of transformers."""
        config = self.make_config(settings)
        return {
            name: list(value) if isinstance(value := getattr(config, name), tuple) else value
            for name in self.setting_names()
        }

    def setting_names(self) -> list[str]:
        """The names of the settings that its configuration declares, besides those of every configuration."""
        from transformers import PreTrainedConfig

        common = {field.name for field in fields(PreTrainedConfig)}
        own = fields(self.import_class("configuration", self.config))
        return sorted(field.name for field in own if field.name not in common)


class PretrainedEncoder(Encoder):
    """A network of transformers, with its weights in the checkpoint, where `jointembed adopt` puts them.

    Args:
        reader: prepares cells as in the training of the network.
        architecture: one of `architectures`.
        config: its settings, as in `config.json` of transformers.

    Raises:
        UsageError: the architecture is unknown, or a setting has the wrong type.
    """

    # The only networks that are ever built: a name in an untrusted file selects one of these, and never a class.
    architectures: ClassVar[dict[str, Architecture]] = {}

    def __init__(self, reader: Reader, architecture: str, config: dict[str, Any]) -> None:
        if architecture not in self.architectures:
            raise UsageError(architecture, "unknown architecture", did_you_mean(architecture, self.architectures))
        self.architecture = self.architectures[architecture]
        self.config = self.architecture.make_config(config)
        width = getattr(self.config, self.architecture.width)
        super().__init__(reader, int(width[-1] if isinstance(width, list | tuple) else width))

    def _network_class(self) -> Any:
        return self.architecture.import_class("modeling", self.architecture.network)

    def build(self, dim: int) -> None:
        """Make the network in float32, whatever the precision of the stored weights, which are loaded later."""
        self.network = self._network_class()(self.config, **self.architecture.options).float()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load the weights of a whole model, under the names that transformers saved them with.

        transformers loads them into a temporary copy, because it renames the weights of older files. The network keeps
        the buffers that are not among the weights (positions, windows) from its constructor.

        Raises:
            MismatchError: weights are missing, or have another shape.
        """
        prefix = self.architecture.prefix
        names = {name: name.removeprefix("model.") if prefix else name for name in weights}
        own = {names[name][len(prefix) :]: value for name, value in weights.items() if names[name].startswith(prefix)}
        try:
            loaded, report = self._network_class().from_pretrained(
                None,
                config=self.config,
                state_dict=own,
                dtype=torch.float32,
                output_loading_info=True,
                **self.architecture.options,
            )
            missing = sorted(report["missing_keys"])
        except RuntimeError as error:
            missing = [str(error).strip().splitlines()[-1]]
        if missing:
            wrong = f"they do not match the settings beside them ({missing[0]})"
            raise MismatchError("weights", wrong, "get the model from its maker again")
        self.network.load_state_dict(loaded.state_dict())
        assert all(value.dtype == torch.float32 for value in self.network.parameters())
