"""Settings: sources in order, and one clear error for each mistake."""

from __future__ import annotations

import contextlib
import re
import sys

import pytest
from fsspec.registry import _registry as imported

from schemas.config import load_settings
from schemas.errors import InputError, MissingBackendError
from schemas.settings import DatasetSettings, RunSettings

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


def test_several_options_of_one_entry_add_up(load):
    words = ("--mining.methods.svm.share", "0.3", "--mining.methods.svm.folds", "4")
    assert load(*words).mining.methods["svm"] == {"share": 0.3, "folds": 4}


@pytest.mark.parametrize("words", [["--mining.methods.svm", "null"], ["--mining.methods.svm=~"]])
def test_null_takes_an_entry_of_a_mapping_away(load, words):
    assert load(*words).mining.methods == {"ridge": {"penalty": 2.0}}
    kept = load("--generator.options.cutoff", "null", "--mining.methods.svm.share", "null")
    assert kept.generator.options == {"cutoff": None}
    assert kept.mining.methods["svm"] == {"share": None}


def test_the_help_says_how_an_entry_is_taken_away(load, capsys):
    with pytest.raises(SystemExit):
        load("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "--mining.methods.NAME null takes one away" in said
    assert "--extractors.NAME null takes one away" in said


def test_the_help_says_where_a_setting_comes_from(load, capsys):
    with pytest.raises(SystemExit) as done:
        load("--help")
    assert done.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "from the arguments, else from the settings file, else from the default that" in said


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {"resolution": 64}),
        (["--generator.name", "head"], {"resolution": 64}),
        (["--generator.options.depth", "2"], {"resolution": 64, "depth": 2}),
        (["--generator.name", "my:Own"], {}),
        (["--generator", '{"name": "my:Own"}'], {}),
        (["--generator.name=my:Own", "--generator.options.depth", "2"], {"depth": 2}),
    ],
)
@pytest.mark.parametrize("name", ["name: head, ", ""], ids=["named", "by default"])
def test_another_generator_on_the_line_drops_the_options_of_the_files(
    tmp_path, name, words, options
):
    path = tmp_path / "run.yaml"
    path.write_text(f"generator: {{{name}options: {{resolution: 64}}}}")
    settings = load_settings(words, "lode", "about", str(path))
    assert settings.generator.options == options
    assert settings.generator.name == ("my:Own" if "my:Own" in "".join(words) else "head")


@pytest.mark.parametrize("generator", ["3", "null", "{nam: head}", "{options: 4}"])
def test_a_broken_generator_in_the_file_is_no_traceback(tmp_path, generator):
    path = tmp_path / "run.yaml"
    path.write_text(f"generator: {generator}")
    for words in ([], ["--generator.name", "my:Own"]):
        with contextlib.suppress(InputError):
            load_settings(words, "lode", "about", str(path))


def test_merged_mappings_may_override_each_others_keys(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "generator:\n  options:\n    a: &a {x: 1, y: 1}\n    b: &b {<<: *a, x: 2}\n"
        "    c: {<<: *b, x: 3}\n"
    )
    options = load_settings([], "lode", "about", str(path)).generator.options
    assert (options["b"], options["c"]) == ({"x": 2, "y": 1}, {"x": 3, "y": 1})


@pytest.mark.parametrize("value", ["-1,1", "[-1, 1]"])
def test_values_may_begin_with_a_minus(load, value):
    settings = load("--evaluation.steps", value, "--generator.options.shift", "-2.5")
    assert settings.evaluation.steps == [-1, 1]
    assert settings.generator.options == {"shift": -2.5}


def test_a_date_is_a_string_on_the_line_and_in_the_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("generator: {options: {made: 2024-01-01}}")
    settings = load_settings(["--generator.options.when", "2024-01-02"], "", "", str(path))
    assert settings.generator.options == {"made": "2024-01-01", "when": "2024-01-02"}


def test_the_environment_is_no_source(load, monkeypatch):
    for name in ("DATASET", "engine", "MINING", "Extractors", "GENERATOR", "OUT", "CATALOG"):
        monkeypatch.setenv(name, "/data/x")
    monkeypatch.setenv("DATASET__SAMPLES", "9")
    assert (load().out, load().catalog, load().dataset.samples) == ("somewhere", None, 40)
    assert RunSettings().out == RunSettings.model_validate({}).out == "runs/demo"
    assert RunSettings(out="here", dataset=DatasetSettings(samples=3)).dataset.samples == 3


def test_a_client_error_of_an_object_store_is_one_clear_error(monkeypatch):
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this-profile")
    with pytest.raises(InputError, match="s3://bucket/run.yaml cannot be read: The config pro"):
        load_settings([], "lode", "about", "s3://bucket/run.yaml")


def test_a_url_whose_client_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(imported, "s3", raising=False)
    said = "settings file s3://bucket/run.yaml cannot be opened: it needs the package 's3fs': "
    with pytest.raises(MissingBackendError) as caught:
        load_settings(["--config", "s3://bucket/run.yaml"], "lode", "about", "")
    assert str(caught.value) == said + "pip install 'latentlode[s3]'"


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
        (["--mining.attributes", "yaw,yaw"], "['yaw', 'yaw']: the same name stands twice"),
        (["--out", ""], "out = '': string should have at least 1 character"),
        (["--mining.methods.svm.share", "[1"], "--mining.methods.svm.share '[1' is not YAML"),
        (["--generator.options.path", "@x"], "--generator.options.path '@x' is not YAML"),
        (["--generator.options.x", "a: b: c"], "mapping values are not allowed here"),
        (["--generator.options.x", "!!bool maybe"], "is not YAML"),
        (["--generator.options.x", "{a: 1, a: 2}"], "line 1: the key 'a' stands twice"),
        (["--generator.options.x", "1" * 5000], "is not YAML"),
        (["--generator.options.x", "!!set {a}"], "holds what JSON does not know"),
        (["--generator.options.x"], "--generator.options.x needs a value"),
        (["--evaluation.steps", "[1"], "Missing end delimiter"),
        (["--mining.methods.ridge=null", "--mining.methods.svm=null"], "at least 1 item"),
        (["stray"], "unrecognized arguments: stray"),
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read: No such file or directory."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_clear_error(load, words, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        load(*words)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: {sampels: 4}", "did you mean 'dataset.samples'"),
        ("datset: {samples: 4}", "did you mean 'dataset'"),
        ("mining: {methods: {svm: }}", "mining.methods.svm in .* is null: write svm: {}"),
        ("extractors:\n  dlib:", "extractors.dlib in .* is null"),
        ("1: 2", "the key 1 is no string"),
        ("generator: {options: {x: !!binary aGk=}}", "holds what JSON does not know"),
        ("generator: {options: &a {x: *a}}", "Circular reference"),
        ("out: !!int many", "is not YAML"),
        ("- a\n- b", "not a mapping"),
        ("out: [", "is not YAML: line 1: .* a flow node that begins in line 1"),
        ("dataset:\n\tsamples: 4", "is not YAML: line 2: a tab stands where YAML wants spaces"),
        ("out: a\ndataset: {}\nout: b", "line 3: the key 'out' stands twice, first in line 1"),
        (
            "dataset:\n  seed: 1\n  'seed': 2",
            "line 3: the key 'seed' stands twice, first in line 2",
        ),
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
    assert set(demo.mining.methods) == {"ridge", "svm", "nrsfm", "robust_pca", "random"}
    assert set(demo.mining.methods) == set(RunSettings().mining.methods)


def test_aliases_that_stand_for_more_than_any_memory_holds_are_refused(tmp_path):
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="stands for more than 1,000,000 values by its aliases"):
        load_settings([], "lode", "about", str(path))


def test_offline_is_a_word_of_its_own(load):
    assert load("--offline").engine.offline
    assert load("--engine.offline", "true").engine.offline
    assert not load().engine.offline


def test_options_of_a_class_of_ones_own_reach_it(load):
    word = "--extractors.tests.examples.points:PointsExtractor.blind_every"
    told = load(word, "5").extractors
    assert told["tests.examples.points:PointsExtractor"] == {"blind_every": 5}


def test_abbreviations_are_not_taken(load):
    with pytest.raises(InputError, match="--off"):
        load("--off")
