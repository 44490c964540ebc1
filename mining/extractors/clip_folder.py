"""A CLIP model from a local folder: settings and weights are read as data, nothing is run.

The folder is what Hugging Face's `save_pretrained` makes: config.json, model.safetensors, and the
tokenizer as vocab.json with merges.txt, or as tokenizer.json. Settings are picked one by one, so
that none can ask for code, for other weights or for the network.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mining.extractors.models import UNKNOWN, Model
from schemas.errors import InputError
from storage.downloads.cache import file_sha256

WEIGHTS = "model.safetensors"
MOST_BYTES = {".json": 20_000_000, ".txt": 20_000_000, ".safetensors": 8 << 30}
PICKLES = ("pytorch_model.bin", "model.bin", "pytorch_model.pt")
# setting: the most that it may be; all are whole numbers from 1 on
COUNTS = {
    "hidden_size": 8192,
    "intermediate_size": 65536,
    "num_hidden_layers": 128,
    "num_attention_heads": 256,
    "projection_dim": 8192,
}
TEXT = {**COUNTS, "vocab_size": 1_000_000, "max_position_embeddings": 1024}
VISION = {**COUNTS, "image_size": 1024, "patch_size": 512}
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
ACTIVATIONS = ("quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh")
# of the release, doi:10.48550/arXiv.2103.00020; a folder's preprocessor_config.json has its own
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
DEFAULT_SIZE = 224  # pixels, transformers' own
BICUBIC = 3  # as Pillow counts its filters


@dataclass(frozen=True)
class ClipFolder:
    """What a folder holds, checked."""

    path: Path
    weights: Model
    text: Mapping[str, Any]  # settings of the two towers
    vision: Mapping[str, Any]
    projection: int  # length of the features
    mean: tuple[float, ...]  # of the colours, on a scale from 0 to 1
    std: tuple[float, ...]
    vocabulary: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]

    def content(self) -> str:
        """What decides the features, as JSON: all but the weights, whose checksum does."""
        parts = [self.text, self.vision, self.projection, self.mean, self.std]
        words = json.dumps([self.vocabulary, self.merges], sort_keys=True)
        digest = hashlib.sha256(words.encode()).hexdigest()
        return json.dumps([*parts, digest], sort_keys=True)


def read_folder(who: str, folder: str, licence: str | None = None) -> ClipFolder:
    """Read and check all of a folder but the weights' numbers.

    Args:
        licence: of the weights; else what the folder's README.md says in its first lines.

    Raises:
        InputError: a file is missing, too large, or holds what is no CLIP model.
    """
    path = _folder(who, folder)
    config = _json(who, path / "config.json")
    if config.get("model_type") != "clip":
        raise InputError(
            f"{who}: {path} holds a model of the type {config.get('model_type')!r}; expected "
            "'clip'."
        )
    towers = {key: _tower(who, path, config, key) for key in ("text_config", "vision_config")}
    for part in (config, *towers.values()):
        for key in ("auto_map", "quantization_config"):
            if part.get(key):
                raise InputError(
                    f"{who}: {path / 'config.json'} has {key}, which asks for other code; expected "
                    "a plain CLIP model."
                )
    projection = _count(who, path, "projection_dim", config.get("projection_dim", 512), 8192)
    text = _settings(who, path, towers["text_config"], TEXT)
    vision = _settings(who, path, towers["vision_config"], VISION)
    mean, std = _colours(who, path, vision.get("image_size", DEFAULT_SIZE))
    vocabulary, merges = _words(who, path)
    return ClipFolder(
        path,
        Model(WEIGHTS, path / WEIGHTS, _digest(who, path), licence or _licence(path)),
        text,
        vision,
        projection,
        mean,
        std,
        vocabulary,
        merges,
    )


def _folder(who: str, folder: str) -> Path:
    try:
        path = Path(folder).expanduser()
        there = "://" not in folder and path.is_dir()
    except (OSError, RuntimeError) as error:  # too long, nobody's home
        said = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise InputError(f"{who}: model {folder[:200]!r}: {said}.") from None
    if not there:
        raise InputError(
            f"{who}: model {folder[:200]!r} is no folder on this machine; expected one with "
            f"config.json, {WEIGHTS} and the tokenizer's files. Nothing is downloaded."
        )
    if not (path / WEIGHTS).is_file():
        pickled = [name for name in PICKLES if (path / name).exists()]
        split = sorted(found.name for found in path.glob("model-*.safetensors"))
        there = ", ".join(sorted(found.name for found in path.iterdir())[:8]) or "nothing"
        came = f"{pickled[0]} can run code and is not read" if pickled else f"it holds {there}"
        came = f"weights in parts ({split[0]} ...) are not read" if split else came
        raise InputError(
            f"{who}: {path} lacks {WEIGHTS}; {came}. Put the model's weights there as one "
            f"{WEIGHTS}, as save_pretrained(folder, max_shard_size='20GB') of transformers does."
        )
    return path


def _digest(who: str, path: Path) -> str:
    _check_size(who, path / WEIGHTS)
    return file_sha256(path / WEIGHTS)


def _check_size(who: str, path: Path) -> None:
    size, most = path.stat().st_size, MOST_BYTES[path.suffix]
    if size > most:
        raise InputError(f"{who}: {path} has {size:,} bytes; at most {most:,} are read.")


def _json(who: str, path: Path) -> dict[str, Any]:
    try:
        _check_size(who, path)
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{who}: {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{who}: {path} is not JSON: {said}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{who}: {path} holds a {type(content).__name__}, not an object.")
    return content


def _tower(who: str, path: Path, config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The settings of one tower; old files say them, or some of them, in `<key>_dict`."""
    parts = [config.get(key) or {}, config.get(f"{key}_dict") or {}]
    if not all(isinstance(part, dict) for part in parts):
        raise InputError(f"{who}: {path / 'config.json'}: {key} is no object.")
    return {**parts[0], **parts[1]}


def _settings(
    who: str, path: Path, tower: Mapping[str, Any], limits: Mapping[str, int]
) -> dict[str, Any]:
    """Those of a tower's settings that decide what it computes; the others are the library's."""
    picked: dict[str, Any] = {
        key: _count(who, path, key, tower[key], most)
        for key, most in limits.items()
        if key in tower
    }
    for key in TOKENS:
        if "vocab_size" in limits and type(tower.get(key)) is int:
            picked[key] = tower[key]
    if "hidden_act" in tower:
        if tower["hidden_act"] not in ACTIVATIONS:
            came = str(tower["hidden_act"])[:80]
            raise InputError(
                f"{who}: {path / 'config.json'}: hidden_act {came!r} came; expected one of "
                f"{', '.join(ACTIVATIONS)}."
            )
        picked["hidden_act"] = tower["hidden_act"]
    if "layer_norm_eps" in tower:
        picked["layer_norm_eps"] = _positive(who, path, "layer_norm_eps", tower["layer_norm_eps"])
    return picked


def _count(who: str, path: Path, key: str, value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise InputError(
            f"{who}: {path / 'config.json'}: {key} {str(value)[:80]} came; expected a whole number "
            f"from 1 to {most:,}."
        )
    return value


def _positive(who: str, path: Path, key: str, value: Any) -> float:
    number = float(value) if type(value) in (int, float) else math.nan
    if not (math.isfinite(number) and 0 < number < 1e3):
        raise InputError(f"{who}: {path}: {key} {str(value)[:80]} came; expected a number above 0.")
    return number


def _colours(who: str, path: Path, edge: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    file = path / "preprocessor_config.json"
    if not file.is_file():
        return MEAN, STD
    content = _json(who, file)
    if content.get("resample", BICUBIC) != BICUBIC:
        raise InputError(
            f"{who}: {file}: another resampling than bicubic ({BICUBIC}) is asked for."
        )
    _check_steps(who, file, content, edge)
    found = []
    for key, known in (("image_mean", MEAN), ("image_std", STD)):
        value = content.get(key, known)
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise InputError(f"{who}: {file}: {key} {str(value)[:80]} came; expected 3 numbers.")
        found.append(tuple(_positive(who, file, key, number) for number in value))
    return found[0], found[1]


def _check_steps(who: str, file: Path, content: Mapping[str, Any], edge: int) -> None:
    """Refuse a preprocessing that is not CLIP's: shrink to the edge, crop, scale, normalise."""
    wanted: dict[str, tuple[Any, ...]] = {
        key: (True,) for key in ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    }
    wanted["rescale_factor"] = (1 / 255,)
    wanted["size"] = (edge, {"shortest_edge": edge})
    wanted["crop_size"] = (edge, {"height": edge, "width": edge})
    for key, allowed in wanted.items():
        came = content.get(key, allowed[0])
        near = type(came) is float and math.isclose(came, 1 / 255, rel_tol=1e-6)
        if came not in allowed and not (key == "rescale_factor" and near):
            raise InputError(
                f"{who}: {file}: {key} {str(came)[:80]} came; expected {allowed[0]}, as CLIP's "
                "own preprocessing has it."
            )


def _words(who: str, path: Path) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """The tokenizer's vocabulary and merges."""
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        vocabulary = _json(who, path / "vocab.json")
        file = path / "merges.txt"
        _check_size(who, file)
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        pairs: Any = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    elif (path / "tokenizer.json").is_file():
        file = path / "tokenizer.json"
        stored = _json(who, file).get("model")
        stored = stored if isinstance(stored, dict) else {}
        vocabulary, pairs = stored.get("vocab"), stored.get("merges")
        if isinstance(pairs, list):
            pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in pairs]
    else:
        raise InputError(
            f"{who}: {path} has no tokenizer; expected vocab.json and merges.txt, or "
            "tokenizer.json."
        )
    known = isinstance(vocabulary, dict) and all(
        type(number) is int and 0 <= number < TEXT["vocab_size"] for number in vocabulary.values()
    )
    paired = isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair)
        for pair in pairs
    )
    if not (known and paired):
        raise InputError(f"{who}: {file} holds no byte-pair encoding as CLIP has it.")
    assert isinstance(vocabulary, dict)
    return vocabulary, tuple((first, second) for first, second in pairs)


def _licence(path: Path) -> str:
    """What the README's header says, as the Hub wants it: `license: mit`."""
    try:
        with (path / "README.md").open(encoding="utf-8", errors="replace") as file:
            text = file.read(20_000)
    except OSError:
        return UNKNOWN
    header = re.match(r"---\r?\n(.*?)\n---", text, re.DOTALL)
    found = (
        re.search(r"^license:\s*([\w.+-]{1,60})\s*$", header[1], re.MULTILINE) if header else None
    )
    return found[1] if found else UNKNOWN
