"""What a model does to be shared: an exported folder, and the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from ..sharing import hub
from ..sharing.export import export_model
from ..sharing.model_card import About
from ..space.space import Space


class Shareable:
    """A model that can be exported, and uploaded to and downloaded from the Hub."""

    space: Space

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What a checkpoint of the model holds."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | Path, trust: Collection[str] = ()) -> Self:
        """Load a model from a file or a folder."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        trust: Collection[str] = (),
        *,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load an exported model, a checkpoint, or a model of the Hub.

        The network is used only for a name that is not a path here.

        Args:
            source: a folder, a .ckpt file, or OWNER/NAME.
            trust: packages whose encoders, readers and objectives may be imported.
            revision: of a model of the Hub: a branch, a tag or a commit.
            token: of the Hub, for private models; that of the login if not given.
            local_files_only: take a model of the Hub from the cache only.

        Raises:
            UsageError: it does not exist.
            UnsafeError: it names classes that are not trusted, or files outside of its folder.
            DamagedError: it is damaged, or its vectors are not those of its export.
        """
        if not Path(source).exists():
            source = hub.download(str(source), revision, token, local_files_only)
        return cls.load(source, trust)

    def export(self, folder: str | Path, license: str = "", onnx: bool = False) -> None:
        """Write the model as a folder of safetensors and JSON, with a model card; see `jointembed export`.

        Args:
            folder: to write; it must not exist.
            license: for the card, as the Hub names licences, such as apache-2.0.
            onnx: write the columns as ONNX graphs too.

        Raises:
            UsageError: the folder exists, or cannot be written.
        """
        export_model(self.content(), self.space, Path(folder), About(license=license, name=Path(folder).name), onnx)

    def push_to_hub(
        self,
        repo: str,
        *,
        license: str = "",
        private: bool = False,
        token: str | None = None,
        commit_message: str = "",
    ) -> str:
        """Export the model and upload it in one commit; return the address of the repository.

        Args:
            repo: OWNER/NAME, which is made unless it exists.
            license: for the card, as the Hub names licences, such as apache-2.0.
            private: make a repository that only its owner sees.
            token: of the Hub; that of the login if not given.
            commit_message: what the commit says.

        Raises:
            UsageError: the Hub refuses it, or cannot be reached.
        """
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "model"
            export_model(self.content(), self.space, folder, About(license=license, name=repo))
            return hub.upload(folder, repo, private, token, commit_message)
