"""Exported models on the Hugging Face Hub; only these functions, and only when they are called, use the network."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..files import HUB_NAME
from ..space import exported, model_folder

ONLINE = "go online, correct the name, or log in with `hf auth login`"


def download(name: str, revision: str | None = None, token: str | None = None, offline: bool = False) -> Path:
    """The folder of a model of the Hub, which is downloaded into the cache of huggingface_hub unless it is there.

    Args:
        name: OWNER/NAME.
        revision: a branch, a tag or a commit; `main` if not given.
        token: of the Hub, for private models; that of the login if not given.
        offline: look into the cache only.

    Raises:
        UsageError: the model does not exist, or the Hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    if not HUB_NAME.fullmatch(name):
        fix = "give an exported folder, a .ckpt file, or a model of the Hub as OWNER/NAME"
        raise UsageError(name, "no folder or file has this path, and no model of the Hub has such a name", fix)
    try:
        return Path(
            snapshot_download(
                name, revision=revision, token=token, local_files_only=offline, allow_patterns=exported.PATTERNS
            )
        )
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        raise _explain(name, error) from error


def upload(folder: Path, name: str, private: bool = False, token: str | None = None, message: str = "") -> str:
    """Upload an exported model in one commit, into a repository that is made unless it exists; return its address.

    Args:
        folder: the exported model.
        name: OWNER/NAME.
        private: make a repository that only its owner sees.
        token: of the Hub; that of the login if not given.
        message: of the commit.

    Raises:
        UsageError: the Hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not HUB_NAME.fullmatch(name):
        raise UsageError(name, "this is not the name of a repository", "write OWNER/NAME")
    api = HfApi(token=token)
    try:
        repository = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository.repo_id,
            folder_path=folder,
            commit_message=message or "Upload a model of jointembed",
            delete_patterns=[f"{model_folder.TOKENIZERS}/*"],  # those of an earlier model
        )
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        raise _explain(name, error) from error
    return str(repository)


def _explain(name: str, error: Exception) -> UsageError:
    reason = [*str(error).strip().splitlines(), type(error).__name__][0]
    return UsageError(name, f"the Hub does not give or take it, or cannot be reached ({reason[:200]})", ONLINE)
