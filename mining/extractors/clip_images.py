"""Images as a CLIP model reads them, and the model's features of images and of phrases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.clip_folder import ClipFolder
from mining.extractors.crops import resized
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LEGACY_EOS = 2  # of files from before transformers 4.31: then the largest token ends a phrase
FLOATS = ("F32", "F16", "BF16")  # as safetensors names them
LOST = "position_ids"  # buffers that old files hold and new ones leave out


class ClipModel:
    """Both towers of a CLIP model, in float32; the text tower may be dropped.

    Args:
        who: the extractor, as messages name it.
        device: torch's, such as "cpu".

    Raises:
        InputError: the weights are not those that the settings ask for, or no numbers.
    """

    def __init__(self, who: str, folder: ClipFolder, device: Any):
        self._who, self._folder, self._device = who, folder, device
        self._model = load_model(who, folder).to(device)
        self.edge = int(self._model.config.vision_config.image_size)
        scale = float(self._model.logit_scale.exp())
        if not (math.isfinite(scale) and 0 < scale <= 1e4):
            raise InputError(f"{who}: the model's logit scale is {scale}; expected 0 to 10,000.")
        self.scale = scale

    def phrases(self, phrases: list[str]) -> NDArray[np.float64]:
        """(K, D) unit features; each phrase goes through the model alone."""
        import torch

        tokenizer = make_tokenizer(self._who, self._folder)
        config = self._model.config.text_config
        if config.eos_token_id not in (LEGACY_EOS, tokenizer.eos_token_id):
            raise InputError(
                f"{self._who}: phrases end with token {tokenizer.eos_token_id} of the tokenizer "
                f"and with {config.eos_token_id} of config.json; expected one folder's files."
            )
        rows = []
        for phrase in phrases:
            tokens = check_tokens(self._who, phrase, tokenizer, config)
            with torch.inference_mode():
                batch = torch.tensor([tokens], device=self._device)
                pooled = self._model.text_model(input_ids=batch).pooler_output
                rows.append(self._model.text_projection(pooled)[0].cpu().numpy())
        return unit(np.stack(rows))

    def drop_text(self) -> None:
        """Free the text tower, which phrases alone need."""
        del self._model.text_model, self._model.text_projection

    def images(self, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, 3, edge, edge) of `clip_pixels` -> (N, D) unit features; NaN where there are none."""
        import torch

        from mining.generators.devices import arithmetic

        with torch.inference_mode(), arithmetic("float32"):
            batch = torch.from_numpy(pixels).to(self._device)
            return unit(self.features(batch).cpu().numpy())

    def features(self, pixels: Tensor) -> Tensor:
        """(N, 3, edge, edge) on the model's device, (byte / 255 - mean) / std -> (N, D).

        As the model gives them, of any length; gradients of the pixels pass through it.
        """
        pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return self._model.visual_projection(pooled)


def unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    """(N, D) at length 1; NaN where a row has none."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((length > 0) & np.isfinite(length), rows / length, np.nan)


def shorter_edge(images: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """(N, H, W, 3) -> (N, edge, edge, 3): shorter edge to `edge`, bicubic, then the middle.

    The longer edge is rounded down, and so is the cut's place, as in CLIP's own preprocessing.
    """
    height, width = images.shape[1:3]
    short = min(height, width)
    down, across = int(edge * height / short), int(edge * width / short)
    made = resized(images, (across, down), "bicubic")
    top, left = (down - edge) // 2, (across - edge) // 2
    return made[:, top : top + edge, left : left + edge]


def clip_pixels(crops: NDArray[np.uint8], folder: ClipFolder) -> NDArray[np.float32]:
    """(N, edge, edge, 3) bytes -> (N, 3, edge, edge): (byte / 255 - mean) / std."""
    mean, std = (np.array(each)[:, None, None] for each in (folder.mean, folder.std))
    channels = crops.transpose(0, 3, 1, 2)
    factor, shift = (1 / 255 / std).astype(np.float32), (-mean / std).astype(np.float32)
    made = np.multiply(channels, factor, dtype=np.float32, order="C")
    made += shift
    return made


def load_model(who: str, folder: ClipFolder) -> Any:
    """transformers' CLIPModel with the folder's weights.

    It is made without memory for its weights; those of the file take their place, once each has
    the shape that the settings ask for.

    Raises:
        InputError: a weight is missing, too many, or of another shape or type.
    """
    import torch
    from safetensors import safe_open
    from transformers import CLIPConfig, CLIPModel

    text, vision = dict(folder.text), dict(folder.vision)
    place = folder.weights.path
    try:
        config = CLIPConfig(
            text_config=text, vision_config=vision, projection_dim=folder.projection
        )
        config._attn_implementation = "sdpa"  # torch's own
        with torch.device("meta"):
            model = CLIPModel(config)
        wanted = model.state_dict()
        with safe_open(place, "pt") as file:
            names = [name for name in file.keys() if not name.endswith(LOST)]
            _check_names(who, place, names, wanted)
            for name in names:
                kind = file.get_slice(name).get_dtype()
                if kind not in FLOATS:
                    raise InputError(
                        f"{who}: {place}: {name} has the type {kind}; expected one of "
                        f"{', '.join(FLOATS)}."
                    )
                shape = tuple(file.get_slice(name).get_shape())
                if shape != tuple(wanted[name].shape):
                    raise InputError(
                        f"{who}: {place}: {name} has the shape {shape}; config.json asks for "
                        f"{tuple(wanted[name].shape)}."
                    )
            weights = {name: file.get_tensor(name).float() for name in names}
    except InputError:
        raise
    except Exception as error:  # both libraries have classes of their own
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{who}: {place} and config.json make no CLIP model: {said}") from None
    model.load_state_dict(weights, assign=True)
    parts: list[Any] = [model.text_model.embeddings, model.vision_model.embeddings]
    for part in parts:
        count = part.position_embedding.num_embeddings
        part.position_ids = torch.arange(count)[None]
    return model.eval().requires_grad_(False)


def make_tokenizer(who: str, folder: ClipFolder) -> Any:
    """CLIP's own tokenizer over the folder's vocabulary."""
    from transformers import CLIPTokenizer

    try:
        merges: Any = list(folder.merges)
        return CLIPTokenizer(vocab=dict(folder.vocabulary), merges=merges)
    except Exception as error:  # the Rust library behind it raises bare exceptions
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{who}: the tokenizer's files do not fit together: {said}") from None


def check_tokens(who: str, phrase: str, tokenizer: Any, config: Any) -> list[int]:
    """The tokens of a phrase.

    Raises:
        InputError: too many, or some that the tokenizer or the model does not know.
    """
    tokens = list(tokenizer(phrase)["input_ids"])
    most = config.max_position_embeddings
    if len(tokens) > most:
        raise InputError(
            f"{who}: the phrase {phrase!r} has {len(tokens)} tokens; the model reads {most}."
        )
    # what the tokenizer does not know becomes the end of the phrase
    if tokens[1:-1].count(tokenizer.eos_token_id) or max(tokens) >= config.vocab_size:
        raise InputError(f"{who}: the phrase {phrase!r} holds what the model's words cannot spell.")
    if config.eos_token_id == LEGACY_EOS and max(tokens) != tokens[-1]:
        raise InputError(f"{who}: the tokenizer's last token does not end the phrase {phrase!r}.")
    return tokens


def _check_names(who: str, place: Any, names: list[str], wanted: Any) -> None:
    missing, more = sorted(set(wanted) - set(names)), sorted(set(names) - set(wanted))
    if missing or more:
        said = f"lacks {missing[0]}" if missing else f"has {more[0]}, which no CLIP model has"
        raise InputError(f"{who}: {place} {said}; config.json and weights do not fit together.")
