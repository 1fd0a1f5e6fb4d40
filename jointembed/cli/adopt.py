"""`jointembed adopt`: a model of Hugging Face as a model of ours, with no training."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UsageError

FILES = ["config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "model*.safetensors*"]


def adopt(source: str, model: str) -> None:
    """Make a model out of one of Hugging Face: CLAP for words and sounds; AST, HuBERT and the like for sounds.

    The vectors are the model's own. All that decides them goes into one checkpoint, which needs neither SOURCE nor the
    network again. The network is used only if SOURCE is no folder but a name of the hub.

    Args:
        source: a folder that `save_pretrained` wrote, or a name of the hub, such as laion/clap-htsat-unfused.
        model: the .ckpt file to write, or a folder for it.
    """
    path = Path(model)
    target = path if path.suffix == ".ckpt" else path / "best.ckpt"
    if target.exists() or (path.is_dir() and any(path.glob("*.ckpt"))):
        raise UsageError(path, "a model is there already", "give another place, or remove it")
    if path != target and path.exists() and not path.is_dir():
        raise UsageError(path, "it is a file, and no .ckpt", "give a .ckpt file to write, or a folder")
    folder, name = local(source)
    from ..pretrained.huggingface.adopt import adopted

    space = adopted(folder, name)
    space.save(target)
    columns = " and ".join(space.columns)
    print(f"{target}: {space.note}; {columns}, {space.dim} dimensions, {space.metric}")
    print(f"next: jointembed index {model} FOLDER songs.index")


def local(source: str) -> tuple[Path, str]:
    """The folder of a model, and what to call it: a folder as it is, a hub name (owner/name) as the hub's copy of it.

    Raises:
        UsageError: there is no such folder, or the hub does not give it.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source) or path.parent.is_dir():
        raise UsageError(
            source,
            "there is no such folder",
            "give a folder that `save_pretrained` wrote, or a name of the hub, such as laion/clap-htsat-unfused",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(snapshot_download(source, allow_patterns=FILES))
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise UsageError(
            source,
            f"there is no such folder, and the hub does not give a model of this name ({reason[:200]})",
            "go online or correct the name; or download the model elsewhere and give its folder",
        ) from error
    return folder, f"{source}@{folder.name[:8]}"
