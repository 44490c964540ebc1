"""Scorers for text anchors in little: one that sees brightness, and a CLIP of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mining.methods.text_anchors import PERCENT


class Brightness:
    """Features (cos a, sin a): the angle is an image's brightness, or a sentence's share of it."""

    def text(self, sentences):
        shares = [next(v for w, v in PERCENT.items() if s.startswith(w + " ")) for s in sentences]
        return np.stack([np.cos(shares), np.sin(shares)], axis=1)

    def images(self, images):
        angle = (images.mean(dim=(1, 2, 3)) + 1) / 2
        return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)


def clip_folder(folder: Path) -> Path:
    """A folder with a tiny random CLIP whose words can spell the sentences."""
    transformers = pytest.importorskip("transformers")
    save = pytest.importorskip("safetensors.torch").save_file
    letters = "abcdefghijklmnopqrstuvwxyz0123456789%."
    ends = [f"{letter}</w>" for letter in letters]
    names = [*letters, *ends, "<|startoftext|>", "<|endoftext|>"]
    words = {word: place for place, word in enumerate(names)}
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 4, "hidden_act": "quick_gelu"}
    last = len(words) - 1
    marks = {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 40, **marks}
    parts = {"text_config": text, "vision_config": {**tower, "image_size": 32, "patch_size": 8}}
    parts["projection_dim"] = 16
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", **parts}))
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.CLIPModel(transformers.CLIPConfig(**parts)).eval()
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
        model.logit_scale.data.fill_(3.0)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save(weights, str(folder / "model.safetensors"))
    return folder
