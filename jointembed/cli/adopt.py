"""Convert a Hugging Face model, such as CLAP or Whisper."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UsageError

FILES = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model*.safetensors*",
]


def adopt(source: str, model: str) -> None:
    """Convert a Hugging Face model into a checkpoint: of sounds (CLAP, AST, ...) or images (CLIP, SigLIP, DINOv2, ...).

    The vectors are those of the original model. The checkpoint holds everything that they depend on, and needs neither
    SOURCE nor the network afterwards. The network is used only if SOURCE is the name of a model on the Hub.

    Args:
        source: a folder written by `save_pretrained`, or a model on the Hub, such as laion/clap-htsat-unfused.
        model: the .ckpt file to write, or a folder for it.
    """
    path = Path(model)
    target = path if path.suffix == ".ckpt" else path / "best.ckpt"
    if target.exists() or (path.is_dir() and any(path.glob("*.ckpt"))):
        raise UsageError(path, "a model exists there already", "give another path, or remove it")
    if path != target and path.exists() and not path.is_dir():
        raise UsageError(path, "this file is not a .ckpt file", "give a .ckpt file to write, or a folder")
    folder, name = local(source)
    from ..pretrained.huggingface.adopt import convert_model

    space = convert_model(folder, name)
    space.save(target)
    columns = " and ".join(space.columns)
    print(f"{target}: {space.description}; {columns}, {space.dim} dimensions, {space.metric}")
    reads_sounds = any(space.reader(column).sample_rate for column in space.columns)
    print(f"next: jointembed index {model} {'FOLDER songs.index' if reads_sounds else 'TABLE items.index'}")


def local(source: str) -> tuple[Path, str]:
    """The folder of a model and a name for it; a model on the Hub (owner/name) is downloaded first.

    Raises:
        UsageError: the folder or model does not exist.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source) or path.parent.is_dir():
        raise UsageError(
            source,
            "this folder does not exist",
            "give a folder written by `save_pretrained`, or a model on the Hub, such as laion/clap-htsat-unfused",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(snapshot_download(source, allow_patterns=FILES))
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise UsageError(
            source,
            f"this folder does not exist, and the Hub has no model of this name or cannot be reached ({reason[:200]})",
            "go online or correct the name, or download the model elsewhere and give its folder",
        ) from error
    return folder, f"{source}@{folder.name[:8]}"
