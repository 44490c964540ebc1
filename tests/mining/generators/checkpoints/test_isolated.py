"""Reading in a bound process: the same weights come out, or one line that says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from mining.generators.checkpoints.fingerprint import fingerprint
from mining.generators.checkpoints.isolated import ENVIRONMENT, IsolationConfig, extract
from mining.generators.checkpoints.plain import Normalised
from mining.generators.checkpoints.safetensors_writer import write
from schemas.errors import InputError, StorageError
from tests.mining.generators.checkpoints import hostile_files, made_files

STAND_IN = "tests.mining.generators.checkpoints.stand_in"
DEFAULT = IsolationConfig()


@pytest.fixture
def snapshot(tmp_path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A small training snapshot, and the truth about its generator."""
    content, truth = made_files.snapshot()
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(content)
    return path, truth


def taken(path: Path, target: Path, function: str = "normalise", config=DEFAULT):
    return extract(path, target, config, f"{STAND_IN}:{function}")


def test_the_weights_come_out_as_safetensors(tmp_path, snapshot):
    path, truth = snapshot
    target = tmp_path / "out.safetensors"
    found = taken(path, target)
    assert found.path == target and sorted(os.listdir(tmp_path)) == [target.name, path.name]
    tensors = load_file(target)
    assert set(tensors) == set(truth)
    for name, value in truth.items():
        assert np.array_equal(tensors[name], value.numpy())
    with safe_open(target, "numpy") as file:
        told = file.metadata()
    config = {"z_dim": 4, "w_dim": 4, "mapping_kwargs": {"num_layers": 1}}
    assert json.loads(told.pop("config")) == config
    assert told == {
        "format": "latentlode-generator",
        "version": "1",
        "architecture": "stylegan2",
        "file_format": "nvidia-pytorch",
        "licence": "unknown",
        "sha256": found.sha256,
    }
    readers = {name: value.numpy for name, value in truth.items()}
    assert found.sha256 == fingerprint("stylegan2", config, readers)


def test_the_same_weights_have_one_fingerprint_in_every_container(tmp_path):
    found = set()
    for protocol in (2, 4, 5):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(made_files.snapshot(protocol)[0])
        found.add(taken(path, tmp_path / "out").sha256)
    assert len(found) == 1


def test_a_fingerprint_changes_with_everything_it_covers():
    config = {"z_dim": 4, "names": ["a"]}
    base = {"a": lambda: np.arange(6.0), "b": lambda: np.zeros((2, 0))}
    changed = [
        ("stylegan3", config, base),
        ("stylegan2", config | {"z_dim": 5}, base),
        ("stylegan2", config, base | {"a": lambda: np.arange(6.0)[::-1]}),
        ("stylegan2", config, base | {"a": lambda: np.arange(6.0).reshape(2, 3)}),
        ("stylegan2", config, base | {"a": lambda: np.arange(6.0).view(np.int64)}),
        ("stylegan2", config, base | {"c": lambda: np.zeros(1)}),
        ("stylegan2", config, {"a": base["a"], "c": base["b"]}),
    ]
    first = fingerprint("stylegan2", config, base)
    assert len({first, *(fingerprint(*case) for case in changed)}) == 1 + len(changed)
    same = {"b": base["b"], "a": lambda: np.arange(6.0).astype(">f8")}
    assert fingerprint("stylegan2", {"names": ["a"], "z_dim": 4}, same) == first


def test_a_written_file_is_read_by_the_official_package(tmp_path, rng):
    """Mixed widths, no dimension, no numbers, odd strides; every tensor lies aligned."""
    made = {
        "half": rng.normal(size=3).astype(np.float16),
        "bytes": np.arange(5, dtype=np.uint8),
        "long": np.arange(4),
        "turned": rng.normal(size=(3, 4)).astype(np.float32).T,
        "none": np.zeros((0, 2), np.float32),
        "one": np.array(2.0),
        "bool": np.array([True, False, True]),
    }
    path = tmp_path / "out.safetensors"
    tensors = {name: lambda value=value: value for name, value in made.items()}
    write(path, Normalised("stylegan2", {}, tensors, "x", "y"), 1 << 20)
    loaded = load_file(path)
    for name, value in made.items():
        assert loaded[name].dtype == value.dtype and np.array_equal(loaded[name], value)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    for name, value in made.items():
        assert header[name]["data_offsets"][0] % value.itemsize == 0


@pytest.mark.parametrize(
    ("config", "value", "said"),
    [
        ({"psi": float("nan")}, np.zeros(1), "JSON lacks"),
        ({"psi": b"x"}, np.zeros(1), "JSON lacks"),
        ({}, np.zeros(1, complex), "does not fit into safetensors"),
        ({}, np.zeros(200), "more than the 1000 of its file"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, config, value, said):
    found = Normalised("stylegan2", config, {"a": lambda: value}, "x", "y")
    with pytest.raises(InputError, match=said):
        write(tmp_path / "out", found, 1000)
    assert not os.listdir(tmp_path)


def test_the_peak_of_memory_stays_under_two_and_a_half_times_the_weights(tmp_path):
    """Of a snapshot of 60 MB with three networks, whose generator has 20 MB."""
    content, truth = made_files.snapshot(width=740)
    path = tmp_path / "large.pkl"
    path.write_bytes(content)
    weights = sum(value.nbytes for value in truth.values())
    assert 60e6 < len(content) < 75e6 and weights > 20e6
    found = taken(path, tmp_path / "out")
    print(f"{found.grown / weights:.2f} times {weights / 1e6:.0f} MB")
    assert found.grown < 2.5 * weights


@pytest.mark.parametrize("kind", ["os.system", "in a torch file", "EXT1"])
def test_a_hostile_file_is_refused_and_nothing_is_left(tmp_path, kind):
    marker = tmp_path / "was-run"
    content, said = hostile_files.commands(marker)[kind]
    path = tmp_path / "hostile.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        taken(path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("function", "config", "said"),
    [
        ("hungry", DEFAULT, "more memory than 768 MiB"),
        (
            "busy",
            IsolationConfig(seconds=1, patience=60),
            "was killed by SIGKILL|was killed by SIGXCPU",
        ),
        ("sleepy", IsolationConfig(seconds=2, patience=1), "took longer than 2 s"),
        ("killed", DEFAULT, "was killed by SIGKILL"),
        ("broken", DEFAULT, "broke down .*a bug of ours"),
        ("doubled", DEFAULT, "more than the .* of its file"),
        ("missing", DEFAULT, "broke down .*missing"),
    ],
)
def test_what_a_reader_may_not_do_ends_in_one_line(tmp_path, snapshot, function, config, said):
    path, _ = snapshot
    with pytest.raises(InputError, match=said) as caught:
        taken(path, tmp_path / "out", function, config)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert os.listdir(tmp_path) == [path.name]


def test_names_in_a_file_do_nothing_to_a_terminal(tmp_path):
    """Neither as a tensor's name nor as an argument's, and not by the megabyte."""
    evil = "\x1b[2J\n" * 100_000
    fc = made_files.module("Layer", {evil: torch.zeros(2, dtype=torch.int64)})
    for kwargs, parts in (({evil: b"x"}, {}), ({}, {"fc0": fc})):
        synthesis = made_files.module("S", modules={"input": made_files.module("I")})
        parts = {"synthesis": synthesis, "mapping": made_files.module("M", modules=parts)}
        node = made_files.module("Generator", modules=parts, init_kwargs=kwargs)
        path = tmp_path / "evil.pkl"
        path.write_bytes(made_files.dumped({"G_ema": node}))
        with pytest.raises(InputError, match="expected (plain values|floats)") as caught:
            extract(path, tmp_path / "out")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 6100


def test_many_tensors_in_one_storage_are_not_widened_one_by_one(tmp_path):
    reads = []

    def read():
        reads.append(1)
        return np.zeros(200)

    found = Normalised("stylegan2", {}, {str(n): read for n in range(1000)}, "x", "y")
    with pytest.raises(InputError, match="more than the 4000 of its file"):
        write(tmp_path / "out", found, 4000)
    assert len(reads) == 3


def test_what_cannot_be_read_or_written_is_named(tmp_path, snapshot):
    path, _ = snapshot
    with pytest.raises(InputError, match="No such file"):
        taken(tmp_path / "none.pkl", tmp_path / "out")
    with pytest.raises(InputError, match="not a file"):
        taken(tmp_path, tmp_path / "out")
    with pytest.raises(StorageError, match="No such file or directory"):
        taken(path, tmp_path / "no folder" / "out")


def test_the_reader_starts_without_torch_and_without_the_callers_settings(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "x")
    script = "import mining.generators.checkpoints.worker, sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("False\n", 0)
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(made_files.snapshot()[0])
    taken(path, tmp_path / "out")
