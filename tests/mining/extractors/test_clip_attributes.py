"""Pairs of phrases are scored as CLIP does it, from a folder that can make nothing be run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mining.extractors.base import (
    FAILED,
    NO_FACE,
    NOT_MEASURED,
    OK,
    Extractor,
    Measurement,
    measure,
)
from mining.extractors.clip_attributes import ClipAttributes
from mining.extractors.clip_folder import read_folder
from mining.extractors.clip_images import clip_pixels, shorter_edge
from mining.extractors.models import models_of
from mining.extractors.registry import make_extractors
from schemas.errors import InputError

transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

pytestmark = pytest.mark.needs("clip")

PHRASES = {"smile": ("a smile", "a frown"), "dark": ("dark hair", "light hair")}
START, END = "<|startoftext|>", "<|endoftext|>"
EDGE = 32


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Letters, the same at a word's end, two merges, and the two marks last, as CLIP has them."""
    letters = "abcdefghijklmnopqrstuvwxyz."
    merges = [("s", "m"), ("h", "a")]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), START, END]
    return {word: place for place, word in enumerate(words)}, merges


def config(words: int, **change) -> dict:
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 4, "hidden_act": "quick_gelu"}
    text = {**tower, "vocab_size": words, "max_position_embeddings": 24}
    text |= {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    vision = {**tower, "image_size": EDGE, "patch_size": 8}
    content = {"model_type": "clip", "projection_dim": 16, "architectures": ["CLIPModel"]}
    return {**content, "text_config": text, "vision_config": vision, **change}


def random_model(settings: dict, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = {k: settings[k] for k in ("text_config", "vision_config", "projection_dim")}
        model = transformers.CLIPModel(transformers.CLIPConfig(**made)).eval()
        for weight in model.parameters():  # its own start is nearly the same for all images
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
        model.logit_scale.data.fill_(np.log(20))
    return model


def saved(folder: Path, seed: int = 0, **change) -> Path:
    folder.mkdir(exist_ok=True)
    words, merges = vocabulary()
    settings = config(len(words), **change)
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "vocab.json").write_text(json.dumps(words))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines))
    model = random_model(settings, seed)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    safetensors.save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder that a test may spoil."""
    return saved(tmp_path / "own")


@pytest.fixture
def images(rng) -> np.ndarray:
    """Smooth colours, so that resizing says little."""
    coarse = rng.integers(0, 256, (5, 6, 6, 3)).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


def make(folder: Path, phrases=None, **options) -> ClipAttributes:
    return ClipAttributes(str(folder), phrases or PHRASES, **options)


def scores(extractor: ClipAttributes, images: np.ndarray, earlier=None) -> np.ndarray:
    found = extractor(images, earlier or {})
    return np.stack([found.values[name] for name in extractor.columns], axis=1)


# ------------------------------------------------------------------------------- what it says


def test_scores_are_those_of_transformers(folder, images):
    """Its own model, tokenizer, image processor and forward pass, but for the difference."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    settings = json.loads((folder / "config.json").read_text())
    model = random_model(settings)
    words, merges = vocabulary()
    tokenizer = transformers.CLIPTokenizer(vocab=words, merges=merges)
    edges = {"size": {"shortest_edge": EDGE}, "crop_size": {"height": EDGE, "width": EDGE}}
    pixels = CLIPImageProcessorPil(**edges)(list(images), return_tensors="pt")["pixel_values"]
    flat = [f"a photo of {phrase}." for pair in PHRASES.values() for phrase in pair]
    tokens = tokenizer(flat, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**tokens, pixel_values=pixels).logits_per_image.double().numpy()
    wanted = logits[:, 0::2] - logits[:, 1::2]
    assert wanted.std(axis=0).min() > 0.05  # they tell images apart
    found = scores(make(folder), images)
    assert found == pytest.approx(wanted, abs=0.05)  # a level of the pixels
    chances = scores(make(folder, scale="probability"), images)
    assert chances == pytest.approx(1 / (1 + np.exp(-found)), abs=1e-6)
    assert found.dtype == np.float32


def test_the_same_batches_give_the_same_bytes_and_others_nearly(folder, images):
    extractor = make(folder)
    whole = scores(extractor, images)
    assert (scores(make(folder), images) == whole).all()
    alone = np.concatenate([scores(extractor, images[k : k + 1]) for k in range(len(images))])
    assert alone == pytest.approx(whole, abs=2e-4)
    assert scores(extractor, images[:0]).shape == (0, 2)


def test_phrases_do_not_touch_each_other(folder, images):
    whole = scores(make(folder), images)
    turned = dict(reversed(PHRASES.items()))
    assert (scores(make(folder, turned), images) == whole[:, ::-1]).all()
    assert (scores(make(folder, {"dark": PHRASES["dark"]}), images)[:, 0] == whole[:, 1]).all()
    swapped = {name: pair[::-1] for name, pair in PHRASES.items()}
    assert (scores(make(folder, swapped), images) == -whole).all()


def test_templates_are_averaged(folder, images):
    """Of one template, its sentence; of two, what neither says alone."""
    bare = {name: tuple(f"a {each}" for each in pair) for name, pair in PHRASES.items()}
    one = scores(make(folder, templates=("a {}",)), images)
    assert (one == scores(make(folder, bare, templates=("{}",)), images)).all()
    two = scores(make(folder, templates=("the {}.",)), images)
    both = scores(make(folder, templates=("a {}", "the {}.")), images)
    same = scores(make(folder, templates=("a {}", "a {}")), images)
    assert same == pytest.approx(one, abs=1e-5)
    assert np.abs(both - (one + two) / 2).max() < 0.3 * np.abs(one - two).max() + 0.05
    assert np.abs(both - one).max() > 0.01


def test_columns_say_what_they_are(folder):
    columns = make(folder).columns
    assert list(columns) == ["smile", "dark"]
    text = columns["smile"].text
    assert text.startswith("'a smile' rather than 'a frown'") and "20 times the difference" in text
    assert "probability" in make(folder, scale="probability").columns["smile"].text


# ------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("shape", [(256, 256), (300, 220), (199, 301), (224, 224), (64, 64)])
def test_preprocessing_is_that_of_transformers(folder, rng, shape):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    y, x = np.mgrid[: shape[0], : shape[1]] / 40
    smooth = np.stack([np.sin(x + y), np.cos(x), np.sin(2 * y)], axis=-1) * 100 + 128
    noise = rng.integers(0, 256, (*shape, 3))
    images = np.stack([smooth, noise]).astype(np.uint8)
    processor = CLIPImageProcessorPil()
    wanted = processor(list(images), return_tensors="np")["pixel_values"]
    found = clip_pixels(shorter_edge(images, 224), read_folder("x", str(folder)))
    std = np.array(processor.image_std)[:, None, None]
    apart = np.abs(found - wanted) * std * 255
    assert found.shape == wanted.shape and found.dtype == np.float32
    assert apart.max() < 2.01 and (apart > 0.5).mean() < 0.1


def boxed(boxes: list) -> dict[str, Measurement]:
    status = tuple(OK if np.isfinite(box).all() else NO_FACE for box in boxes)
    return {"dlib": Measurement(status, {"box": np.array(boxes, np.float32)})}


def test_a_face_is_cut_out_where_a_source_is_named(folder, rng):
    """The box holds one picture; around it is another."""
    inner = rng.integers(0, 256, (EDGE, EDGE, 3), dtype=np.uint8)
    image = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    image[40 : 40 + EDGE, 64 : 64 + EDGE] = inner
    box = [64 / 128, 40 / 128, 96 / 128, 72 / 128]
    extractor = make(folder, source="dlib", margin=0.0)
    assert extractor.needs == ("dlib",)
    found = scores(extractor, image[None], boxed([box]))
    assert (found == scores(make(folder), inner[None])).all()
    wider = scores(make(folder, source="dlib", margin=0.5), image[None], boxed([box]))
    assert np.abs(wider - found).max() > 0.01


def test_rows_without_a_face_are_not_measured(folder, images):
    box, none = [0.1, 0.1, 0.9, 0.9], [np.nan] * 4
    extractor = make(folder, source="dlib")
    found = extractor(images, boxed([box, none, box, box, none]))
    assert found.status == (OK, NOT_MEASURED, OK, OK, NOT_MEASURED)
    for value in found.values.values():
        assert np.isnan(value[[1, 4]]).all() and np.isfinite(value[[0, 2, 3]]).all()
    assert extractor(images, boxed([none] * 5)).status == (NOT_MEASURED,) * 5


def test_a_source_without_boxes_is_told(folder, images):
    before = {"dlib": Measurement((OK,) * 5, {"landmarks": np.zeros((5, 68, 2), np.float32)})}
    with pytest.raises(InputError, match="^clip_attributes: dlib has no column 'box'"):
        make(folder, source="dlib")(images, before)


def test_features_that_are_not_finite_are_a_reason(own, images):
    weights = safetensors.load_file(own / "model.safetensors")
    weights["visual_projection.weight"][0, 0] = np.nan
    safetensors.save_file(weights, own / "model.safetensors")
    found = measure([make(own)], images[:2])["clip_attributes"]
    assert found.status == (FAILED, FAILED)
    assert found.reasons[1] == "the model's features are not finite"


# -------------------------------------------------------------------------------- the folder


def test_the_fingerprint_knows_content_and_not_places(folder, tmp_path):
    base = make(folder).fingerprint()
    assert make(saved(tmp_path / "moved")).fingerprint() == base
    others = [
        make(saved(tmp_path / "seed", seed=1)),
        make(folder, {"smile": PHRASES["smile"]}),
        make(folder, {**PHRASES, "dark": ("dark hair", "hair")}),
        make(folder, templates=("{}",)),
        make(folder, scale="probability"),
        make(folder, source="dlib"),
        make(folder, source="dlib", margin=0.5),
        make(folder, name="clip"),
    ]
    (tmp_path / "moved" / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    others.append(make(tmp_path / "moved"))
    prints = {base, *(other.fingerprint() for other in others)}
    assert len(prints) == len(others) + 1
    assert all(len(each) == 64 for each in prints)


def test_settings_make_it(folder, images):
    """By its class, as a run's settings name it: lists where Python has tuples."""
    kind = "mining.extractors.clip_attributes:ClipAttributes"
    options = {"phrases": {"smile": ["a smile", "a frown"]}, "templates": ["{}", "a {}"]}
    (made,) = make_extractors({kind: {"model": str(folder), "name": "clip", **options}})
    assert isinstance(made, Extractor) and made.fingerprint_tells_all
    assert measure([made], images)["clip"].status == (OK,) * 5
    assert models_of(made)[0]["name"] == "model.safetensors"
    with pytest.raises(InputError, match="option phrases = .*a.1: field required"):
        make_extractors({kind: {"model": str(folder), "phrases": {"a": ["b"]}}})


def test_the_licence_is_the_folders(own):
    assert make(own).licence.startswith("model.safetensors: unknown")
    (own / "README.md").write_text(
        "---\nlanguage: en\nlicense: mit\n---\n# A model\nlicense: gpl\n"
    )
    assert make(own).licence == "model.safetensors: mit"
    assert make(own, licence="CC0-1.0").models[0].licence == "CC0-1.0"


def test_a_tokenizer_in_one_file_is_the_same(own, images):
    wanted = scores(make(own), images)
    words, merges = vocabulary()
    for pairs in (merges, [" ".join(pair) for pair in merges]):
        stored = {"model": {"type": "BPE", "vocab": words, "merges": pairs}}
        (own / "tokenizer.json").write_text(json.dumps(stored))
        for name in ("vocab.json", "merges.txt"):
            (own / name).unlink(missing_ok=True)
        assert (scores(make(own), images) == wanted).all()


def test_old_folders_load(own, images):
    """Positions among the weights, half floats, and the legacy mark for the end of a phrase."""
    wanted = scores(make(own), images)
    weights = safetensors.load_file(own / "model.safetensors")
    weights["text_model.embeddings.position_ids"] = torch.arange(24)[None]
    safetensors.save_file(weights, own / "model.safetensors")
    content = json.loads((own / "config.json").read_text())
    content["text_config"]["eos_token_id"] = 2
    content["text_config_dict"] = content.pop("text_config")
    (own / "config.json").write_text(json.dumps(content))
    assert (scores(make(own), images) == wanted).all()
    half = {name: value.half() for name, value in weights.items()}
    safetensors.save_file(half, own / "model.safetensors")
    assert scores(make(own), images) == pytest.approx(wanted, abs=0.3)


def spoil(own: Path, **change) -> None:
    content = json.loads((own / "config.json").read_text())
    for key, value in change.items():
        part = content
        *outer, last = key.split("__")
        for each in outer:
            part = part[each]
        part[last] = value
    (own / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "siglip"}, "of the type 'siglip'; expected 'clip'"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "has auto_map, which asks for other code"),
        ({"vision_config__auto_map": {"A": "b"}}, "has auto_map"),
        ({"quantization_config": {"quant_method": "x"}}, "has quantization_config"),
        ({"text_config": [1]}, "text_config is no object"),
        ({"projection_dim": "16"}, "projection_dim 16 came; expected a whole number"),
        ({"text_config__hidden_size": 10**12}, "hidden_size 1000000000000 came; .* to 8,192"),
        ({"vision_config__num_hidden_layers": 0}, "num_hidden_layers 0 came"),
        ({"vision_config__image_size": True}, "image_size True came"),
        ({"vision_config__hidden_act": "kernels/evil"}, "hidden_act 'kernels/evil' came"),
        ({"vision_config__layer_norm_eps": float("nan")}, "layer_norm_eps nan came"),
        ({"vision_config__num_attention_heads": 5}, "make no CLIP model: .*multiple"),
        ({"text_config__hidden_size": 64}, r"shape .*; config.json asks for \(.*64"),
        ({"text_config__num_hidden_layers": 3}, "lacks text_model.encoder.layers.2"),
        ({"text_config__num_hidden_layers": 1}, "has text_model.encoder.layers.1"),
        ({"text_config__eos_token_id": 7}, "end with token 57 of the tokenizer and with 7"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_one_line(own, change, said):
    spoil(own, **change)
    with pytest.raises(InputError, match=f"^extractor 'clip_attributes': .*{said}") as caught:
        make(own)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_settings_that_ask_for_other_code_are_not_looked_at(own, images):
    """What is not picked from config.json changes nothing."""
    wanted = scores(make(own), images)
    spoil(own, attn_implementation="evil/kernel", _attn_implementation="evil/kernel")
    spoil(own, vision_config___attn_implementation="evil/kernel", torch_dtype="float16")
    (own / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert (scores(make(own), images) == wanted).all()


def test_pickled_weights_are_refused(own):
    weights = safetensors.load_file(own / "model.safetensors")
    torch.save(weights, own / "pytorch_model.bin")
    make(own)  # beside the others they are not looked at
    (own / "model.safetensors").unlink()
    with pytest.raises(InputError, match="lacks model.safetensors; pytorch_model.bin can run code"):
        make(own)
    (own / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"lacks model.safetensors; it holds config.json, .*Put"):
        make(own)
    (own / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"weights in parts \(model-00001-of-00002.safetensors"):
        make(own)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("config.json", b"{", "config.json is not JSON"),
        ("config.json", b"[]", "holds a list, not an object"),
        ("config.json", b"[" * 100_000, "config.json is not JSON"),
        ("config.json", None, "config.json: No such file"),
        ("vocab.json", b'{"a": -1}', "no byte-pair encoding"),
        ("vocab.json", b'{"a": "b"}', "no byte-pair encoding"),
        ("vocab.json", b'{"a": 1}', "tokenizer's files do not fit together|cannot spell|end with"),
        ("vocab.json", None, "has no tokenizer; expected vocab.json and merges.txt"),
        ("merges.txt", b"a b c", "no byte-pair encoding"),
        ("merges.txt", b"z q", "tokenizer's files do not fit together"),
        ("model.safetensors", b"", "make no CLIP model"),
        ("model.safetensors", b"\xff" * 64, "make no CLIP model"),
        ("model.safetensors", b"\x80\x02}q\x00.", "make no CLIP model"),
        ("preprocessor_config.json", b'{"resample": 2}', "another resampling than bicubic"),
        ("preprocessor_config.json", b'{"image_std": [0, 1, 1]}', "image_std 0 came"),
        ("preprocessor_config.json", b'{"image_mean": 0.5}', "image_mean 0.5 came; expected 3"),
        ("preprocessor_config.json", b'{"do_normalize": false}', "do_normalize False came"),
        ("preprocessor_config.json", b'{"rescale_factor": 0.0078}', "rescale_factor 0.0078 came"),
        ("preprocessor_config.json", b'{"size": {"shortest_edge": 64}}', "size .* expected 32"),
    ],
)
def test_files_that_do_not_fit_are_told_in_one_line(own, name, data, said):
    (own / name).unlink(missing_ok=True)
    if data is not None:
        (own / name).write_bytes(data)
    with pytest.raises(InputError, match=f"^extractor 'clip_attributes': .*({said})") as caught:
        make(own)
    assert "\n" not in str(caught.value)


def test_files_that_are_too_large_are_refused(own):
    with (own / "config.json").open("ab") as file:
        file.truncate(30_000_000)
    with pytest.raises(InputError, match="config.json has 30,000,000 bytes; at most 20,000,000"):
        make(own)


@pytest.mark.parametrize("name", ["openai/clip-vit-base-patch32", "https://example.org/clip"])
def test_nothing_is_downloaded(name):
    with pytest.raises(InputError, match="is no folder on this machine; .* Nothing is downloaded"):
        make(name)


# ------------------------------------------------------------------------------- the options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"phrases": {}}, "0 pairs of phrases and 1 templates came; expected 1..500"),
        ({"phrases": {"a b": ("x", "y")}}, "the column 'a b'; expected letters"),
        ({"phrases": {"status": ("x", "y")}}, "the column 'status'; expected .* neither of status"),
        ({"phrases": {"a": ("x", " ")}}, "a has the phrase ' '; expected words"),
        ({"phrases": {"a": ("x", "y\nz")}}, "expected words"),
        ({"phrases": {"a": ("x", "x")}}, "a holds 'x' against itself"),
        ({"phrases": {"a": ("x", "y" * 400)}}, "a phrase of a has more than 300 letters"),
        ({"phrases": {"a": ("x", "y z " * 20)}}, "tokens; the model reads 24"),
        ({"phrases": {"a": ("x", "7")}}, "'a photo of 7.' holds what the model's words cannot"),
        ({"templates": ()}, "0 templates"),
        ({"templates": ("a photo",)}, r"template 'a photo' came; expected one \{\}"),
        ({"templates": ("{} {}",)}, r"expected one \{\}"),
        ({"margin": -0.5}, "margin -0.5 came"),
        ({"margin": float("nan")}, "margin nan came"),
        ({"name": "A"}, "extractor name 'A' came"),
        ({"device": "tpu"}, "device 'tpu' came"),
    ],
)
def test_options_that_do_not_fit_are_told(folder, options, said):
    with pytest.raises(InputError, match=said):
        ClipAttributes(str(folder), **{"phrases": PHRASES, **options})


# ------------------------------------------------------------------------------- real weights


def real_folder() -> Path | None:
    models = os.environ.get("LODE_MODELS")
    path = Path(models) / "clip-vit-base-patch32" if models else None
    return path if path is not None and (path / "model.safetensors").is_file() else None


@pytest.mark.weights("clip-vit-base-patch32")
@pytest.mark.skipif(
    real_folder() is None, reason="needs $LODE_MODELS/clip-vit-base-patch32/model.safetensors"
)
def test_the_published_model_sees_glasses():
    """On heads of the generator, each with and without."""
    from mining.generators.head import HeadGenerator

    head = HeadGenerator(resolution=256)
    w_plus = head.broadcast(head.map(head.sample_z(8, np.random.default_rng(0)), psi=0.7))
    pair = {"glasses": ("a person with glasses", "a person without glasses")}
    extractor = ClipAttributes(str(real_folder()), pair)
    without, worn = (
        scores(extractor, head.synthesize(head.w_plus_with(w_plus, "glasses", value)))[:, 0]
        for value in (0.02, 0.98)
    )
    assert (worn > without).mean() >= 0.75


@pytest.mark.parametrize("place", ["~nobody-of-that-name/x", "x" * 5000])
def test_folders_that_cannot_be_are_told_in_one_line(place):
    with pytest.raises(InputError, match="extractor 'clip_attributes': model "):
        make(place)


def test_whole_numbers_are_no_weights(own):
    weights = safetensors.load_file(own / "model.safetensors")
    weights["visual_projection.weight"] = weights["visual_projection.weight"].to(torch.int8)
    safetensors.save_file(weights, own / "model.safetensors")
    with pytest.raises(InputError, match="has the type I8; expected one of F32"):
        make(own)


def test_a_source_without_a_box_is_refused_before_any_image(folder):
    told = {"model": str(folder), "phrases": PHRASES, "source": "geometry"}
    with pytest.raises(InputError, match="reads box of 'geometry'"):
        make_extractors({"dlib": {}, "geometry": {}, "clip_attributes": told})
