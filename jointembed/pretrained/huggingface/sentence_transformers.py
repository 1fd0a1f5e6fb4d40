"""What a sentence-transformers folder says about what happens before and after its network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...errors import UsageError
from ...space.score import Metric
from .folder import ModelFolder

# In the order in which sentence-transformers concatenates them; before its version 5.3 each was a setting of its own.
POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
METRICS: dict[str, Metric] = {"cosine": "cosine", "dot": "dot", "dot_product": "dot", "euclidean": "euclidean"}
GENERAL_SETTINGS = "config_sentence_transformers.json"
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
EXPORT_AGAIN = "adopt a model of Transformer, Pooling, Dense and Normalize in this order, or of StaticEmbedding"


@dataclass(frozen=True)
class DenseLayer:
    """A linear layer after the pooling.

    Args:
        folder: of its weights.
        settings: `{in_features, out_features, bias, activation}`.
    """

    folder: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class SentenceSettings:
    """What happens before and after a network of text.

    Args:
        pooling: see `PretrainedTextEncoder`.
        dense: the linear layers after the pooling.
        normalize: give unit vectors.
        max_length: the number of subwords at which a text is cut off; 0: as many as the network reads.
        lowercase: read texts in lower case.
        prompts: by column, what is put before each text.
        metric: how the vectors are compared.
        note: what a user should know about these choices.
    """

    pooling: tuple[str, ...] = ("mean",)
    dense: tuple[DenseLayer, ...] = ()
    normalize: bool = False
    max_length: int = 0
    lowercase: bool = False
    prompts: dict[str, str] = field(default_factory=lambda: {"text": ""})
    metric: Metric = "cosine"
    note: str = ""


def read_sentence_settings(folder: ModelFolder) -> SentenceSettings:
    """The settings of a sentence-transformers folder, or mean pooling for a folder of transformers.

    Raises:
        UsageError: a module, a pooling or an activation is not supported.
        UnsafeError: the settings name code.
        DamagedError: a file cannot be parsed.
    """
    tokenizer = _read_optional(folder, "tokenizer_config.json")
    limit = tokenizer.get("model_max_length")
    max_length = int(limit) if isinstance(limit, int | float) and 0 < limit < 1e9 else 0
    if not folder.modules:
        note = "the mean over the subwords, as the folder names no pooling"
        return SentenceSettings(max_length=max_length, note=note)
    modules = folder.modules
    names = [name for name, _ in modules]
    expected = ["Transformer", "Pooling", *["Dense"] * names.count("Dense")]
    if names not in (expected, [*expected, "Normalize"]):
        raise UsageError(
            folder.path / "modules.json", f"the modules {', '.join(names)} are not supported", EXPORT_AGAIN
        )
    own = _read_optional(folder, "sentence_bert_config.json")
    prompts, metric = read_prompts_and_metric(folder)
    return SentenceSettings(
        pooling=_read_pooling(folder, modules[1][1], any(prompts.values())),
        dense=tuple(_read_dense(folder, path) for name, path in modules[2:] if name == "Dense"),
        normalize="Normalize" in names,
        max_length=int(own.get("max_seq_length") or max_length),
        lowercase=bool(own.get("do_lower_case")),
        prompts=prompts,
        metric=metric,
    )


def read_prompts_and_metric(folder: ModelFolder) -> tuple[dict[str, str], Metric]:
    """By column, what is put before each text; and how the vectors are compared.

    Raises:
        UsageError: the similarity is not supported.
        UnsafeError: the settings name code.
        DamagedError: the file cannot be parsed.
    """
    general = _read_optional(folder, GENERAL_SETTINGS)
    similarity = general.get("similarity_fn_name") or "cosine"
    if similarity not in METRICS:
        wrong = f"the similarity {similarity} is not supported"
        raise UsageError(folder.path / GENERAL_SETTINGS, wrong, "give one of " + ", ".join(METRICS))
    return _read_prompts(general), METRICS[similarity]


def _read_optional(folder: ModelFolder, name: str) -> dict[str, Any]:
    return folder.read_json(name) if (folder.path / name).is_file() else {}


def _read_pooling(folder: ModelFolder, place: str, has_prompts: bool) -> tuple[str, ...]:
    name = f"{place}/config.json"
    own = folder.read_json(name)
    modes = own.get("pooling_mode") or [mode for key, mode in POOLING_KEYS.items() if own.get(key)] or "mean"
    if own.get("include_prompt") is False and has_prompts:
        wrong = "prompts that are left out of the pooling are not supported"
        raise UsageError(folder.path / name, wrong, "adopt a model with include_prompt, or remove its prompts")
    modes = (modes,) if isinstance(modes, str) else tuple(str(mode) for mode in modes)
    for mode in modes:
        if mode not in POOLING_KEYS.values():
            wrong, fix = f"the pooling {mode} is not supported", "adopt a model that pools by one of "
            raise UsageError(folder.path / name, wrong, fix + ", ".join(POOLING_KEYS.values()))
    return modes


def _read_dense(folder: ModelFolder, place: str) -> DenseLayer:
    name = f"{place}/config.json"
    own = folder.read_json(name)
    activation = str(own.get("activation_function") or "torch.nn.modules.linear.Identity")
    inner = own.get("module_input_name", "sentence_embedding"), own.get("module_output_name") or "sentence_embedding"
    if not activation.startswith("torch.nn.") or own.get("use_residual") or set(inner) != {"sentence_embedding"}:
        wrong = "a layer with its own activation, a residual connection or other inputs is not supported"
        raise UsageError(folder.path / name, wrong, "adopt a model with plain Dense layers")
    settings = {"in_features": int(own["in_features"]), "out_features": int(own["out_features"])}
    return DenseLayer(place, {**settings, "bias": bool(own.get("bias", True)), "activation": activation.split(".")[-1]})


def _read_prompts(general: dict[str, Any]) -> dict[str, str]:
    """The prompt of each column, as `encode_query` and `encode_document` choose them."""
    prompts = {str(name): str(prompt or "") for name, prompt in (general.get("prompts") or {}).items()}
    default = prompts.get(str(general.get("default_prompt_name")), "")
    query = prompts.get("query", default)
    text = next((prompts[name] for name in DOCUMENT_PROMPTS if name in prompts), default)
    return {"text": text} if query == text else {"query": query, "text": text}
