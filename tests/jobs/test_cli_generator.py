"""`lode generator`: what it tells of a checkpoint, what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import _lode, guarded
from mining.generators.checkpoints import native, read_checkpoint
from storage.downloads.cache import file_sha256
from tests.mining.generators.checkpoints.made_networks import (
    FILTER,
    config,
    network,
    nvidia_pickle,
    persistent,
)

ARGUMENTS = config(z_dim=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    generator = persistent(network(**ARGUMENTS), "Generator", {}, FILTER, init_kwargs=ARGUMENTS)
    return nvidia_pickle(tmp_path_factory.mktemp("made") / "made.pkl", generator)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lode(capsys):
    """Runs a command in this process: its exit status, and what it printed."""

    def run(*words) -> tuple[int, str, str]:
        try:
            status = guarded(_lode, ["generator", *map(str, words)])
        except SystemExit as ended:
            status = ended.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_inspect_tells_what_a_checkpoint_is(lode, made):
    status, out, err = lode("inspect", made)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split(maxsplit=1)[0] == "licence" and "unknown" in lines[0]
    facts = dict(line.split("  ", 1) for line in lines if "  " in line)
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["architecture"] == "stylegan2"
    assert facts["resolution"] == "16 px, 3 channels"
    made_network = network(**ARGUMENTS)
    assert facts["parameters"] == f"{sum(p.numel() for p in made_network.parameters()):,}"
    assert facts["spaces"] == "z 16, c 0, w 16, w+ 6 x 16, s 136"
    assert facts["weights"].split()[0] == read_checkpoint(str(made)).sha256
    assert facts["file"] == f"nvidia-pytorch, {made.stat().st_size:,} bytes"
    assert facts["file's SHA-256"] == file_sha256(made)
    layers = [line.split() for line in lines[lines.index("") + 2 :]]
    assert layers[0] == ["0", "b4.conv1", "4", "24"]
    assert layers[-1] == ["5", "b16.torgb", "16", "8", "colours"]
    assert len(layers) == len(made_network.style_layers) == 8


def test_inspect_as_json(lode, made):
    status, out, _ = lode("inspect", made, "--json")
    about = json.loads(out)
    assert status == 0
    assert about["spaces"] == {"z": 16, "c": 0, "w": 16, "w+": [6, 16], "s": 136}
    assert about["layers"][1] == {
        "row": 1,
        "name": "b4.torgb",
        "resolution": 4,
        "style_channels": 24,
        "to_rgb": True,
    }
    assert not about["research_only"] and about["problem"] is None


def test_convert_writes_a_file_that_inspect_tells_the_same_of(lode, made, tmp_path):
    out = tmp_path / "made.safetensors"
    status, said, err = lode("convert", made, out)
    assert (status, err) == (0, "")
    assert said.startswith(f"{out}: stylegan2, {out.stat().st_size:,} bytes\nweights ")
    before, after = (json.loads(lode("inspect", path, "--json")[1]) for path in (made, out))
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"source", "file_format", "file_bytes", "file_sha256", "converted_from"}
    assert (after["file_format"], after["converted_from"]) == ("latentlode", "nvidia-pytorch")


def test_convert_never_overwrites_unless_told(lode, made, tmp_path):
    out = tmp_path / "made.safetensors"
    out.write_bytes(b"mine")
    status, said, err = lode("convert", made, out)
    assert (status, said, out.read_bytes()) == (2, "", b"mine")
    assert err == f"error: checkpoint {out} exists; choose another name or pass --force.\n"
    assert lode("convert", made, out, "--force")[0] == 0
    assert native.read(out).config == ARGUMENTS


def test_a_research_licence_is_told_first(lode, made, tmp_path):
    from dataclasses import replace

    licensed = replace(read_checkpoint(str(made)), licence="Some licence: research only")
    native.save(licensed, tmp_path / "made.safetensors")
    out = lode("inspect", tmp_path / "made.safetensors")[1]
    first = out.splitlines()[0]
    assert first.split(maxsplit=1) == ["licence", "RESEARCH ONLY. Some licence: research only"]


def test_tensors_that_do_not_fit_are_told_with_status_1(lode, made, tmp_path):
    from dataclasses import replace

    from mining.generators.checkpoints.fingerprint import fingerprint

    checkpoint = read_checkpoint(str(made))
    tensors = dict(checkpoint.tensors)
    del tensors["synthesis.b4.const"]
    readers = {name: tensor.numpy for name, tensor in tensors.items()}
    told = fingerprint("stylegan2", checkpoint.config, readers)
    native.save(replace(checkpoint, tensors=tensors, sha256=told), tmp_path / "a.safetensors")
    status, out, err = lode("inspect", tmp_path / "a.safetensors")
    assert (status, err) == (1, "")
    (problem,) = [line for line in out.splitlines() if line.startswith("problem")]
    assert "'synthesis.b4.const' has shape None" in problem


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["inspect", "nowhere.pkl"], 2, "nowhere.pkl does not exist; expected a file, a URL or a"),
        (["inspect", "stylegan3-r-fhq-1024"], 2, "did you mean 'stylegan3-r-ffhq-1024'"),
        (["inspect", "http://127.0.0.1:9/a.pkl", "--sha256", "12"], 2, "64 hexadecimal digits"),
        (["inspect", "/dev/null"], 2, "/dev/null is not a file"),
        (["inspect", "a" * 300], 2, "File name too long"),
        (["inspect", "~nobody-of-that-name/a.pkl"], 2, "home directory"),
        (["inspect", "https://[::1"], 2, "is not a URL"),
        (["inspect", "WRONG"], 2, "wrong.pkl: "),
        (["inspect", "MADE", "--sha256", "0" * 64], 1, "has the SHA-256 "),
        (["convert", "nowhere.pkl", "out.safetensors"], 2, "nowhere.pkl does not exist"),
        (["convert", "nowhere.pkl", "out.pkl"], 2, "expected a name that ends in .safetensors"),
        (
            ["convert", "nowhere.pkl", "missing/out.safetensors"],
            2,
            "out.safetensors does not exist",
        ),
        (["convert", "MADE"], 2, "Missing argument 'OUT.safetensors'"),
    ],
)
def test_a_mistake_is_one_line(lode, made, tmp_path, monkeypatch, words, status, said):
    monkeypatch.chdir(tmp_path)
    Path("wrong.pkl").write_bytes(b"GIF89a")
    named = {"MADE": made, "WRONG": "wrong.pkl"}
    found, out, err = lode(*[named.get(word, word) for word in words])
    assert (found, out) == (status, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and said in err
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_command_is_there_and_shows_progress_where_it_fetches(made, tmp_path, environment):
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(made.parent))

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/made.pkl"
        done = subprocess.run(
            [sys.executable, "-m", "jobs.cli", "generator", "inspect", url, "--json"],
            env={**environment, "LODE_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["source"] == url and about["trusted_on_first_use"]
    assert file_sha256(made) in done.stderr  # said: the checksum is trusted from now on
    progress = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert progress[-1].items() >= {"stage": "fetch", "state": "done", "unit": "MB"}.items()
