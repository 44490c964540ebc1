"""Settings: sources in order, and one clear error for each mistake."""

from __future__ import annotations

import pytest

from schemas.config import load_settings
from schemas.errors import InputError
from schemas.settings import RunSettings

YAML = """
out: somewhere
dataset: {samples: 40, seed: 3}
mining: {methods: {ridge: {penalty: 2.0}, svm: {}}}
"""


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(YAML)
    return lambda *words: load_settings(words, "lode", "about", str(path))


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(load):
    settings = load("--dataset.samples", "70")
    assert (settings.dataset.samples, settings.dataset.seed) == (70, 3)
    assert settings.dataset.shard_size == RunSettings().dataset.shard_size


def test_options_below_a_mapping_are_merged(load):
    methods = load("--mining.methods.svm.share", "0.3", "--mining.methods.ridge.penalty=5").mining
    assert methods.methods == {"ridge": {"penalty": 5}, "svm": {"share": 0.3}}


def test_lists_and_null_are_read(load):
    settings = load("--mining.attributes", "yaw,smile", "--dataset.cutoff", "null")
    assert settings.mining.attributes == ["yaw", "smile"]
    assert settings.dataset.cutoff is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset.sampls", "5"], "did you mean 'dataset.samples'"),
        (["--dataset.samples", "0"], "dataset.samples = '0': input should be greater"),
        (["--dataset.samples", "-3"], "greater than or equal to 1"),
        (["--dataset.samples", "many"], "valid integer"),
        (["--dataset.samples"], "expected one argument"),
        (["--mining.attributes", "yaw,yaw"], "the same name stands twice"),
        (["stray"], "unrecognized arguments: stray"),
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_clear_error(load, words, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        load(*words)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: {sampels: 4}", "did you mean 'dataset.samples'"),
        ("datset: {samples: 4}", "did you mean 'dataset'"),
        ("- a\n- b", "not a mapping"),
        ("out: [", "is not YAML"),
        ("out: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("x" * 1_000_001, "larger than"),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_error(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_settings([], "lode", "about", str(path))
    assert "\n" not in str(caught.value)


def test_the_demo_settings_are_the_defaults_it_names():
    demo = load_settings([], "lode", "about", "jobs/configs/demo.yaml")
    assert demo.dataset.samples == 1500
    assert set(demo.mining.methods) == {"ridge", "svm", "nrsfm", "robust_pca"}
