"""`lode catalog import`, called as a person and as a program would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from jobs.cli_exchange import import_, parse_layers
from mining.generators.checkpoints.native import save
from mining.generators.registry import make_generator
from schemas.errors import InputError
from storage.catalog import Catalog
from tests.mining.generators.test_pretrained import checkpoint
from tests.storage.exchange import planted_files as planted

app = typer.Typer()
app.command("import")(import_)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def unit(seed: int, *shape: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=shape)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two directions, one of them with identical rows, and a file that is none."""
    monkeypatch.setenv("LODE_CATALOG", str(tmp_path / "catalog"))
    root = tmp_path / "e4e"
    root.mkdir()
    (root / "age.pt").write_bytes(planted.torch_zip(unit(1, 1, 32)))
    (root / "pose.npy").write_bytes(planted.npy(np.tile(unit(2, 32), (1, 18, 1))))
    (root / "notes.txt").write_text("text")
    return root


def test_a_folder_as_a_table(folder):
    result = run(str(folder))
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    ids = {card.attribute: card.direction_id[:10] for card in Catalog().cards()}
    assert lines[0] == str(folder / "age.pt") and lines[1] == f"  {ids['age']}  age, w, e4e"
    assert lines[4] == "1 not imported:" and "notes.txt: its content" in lines[5]
    assert lines[-1].startswith("2 directions imported into") and "commit 1; 0 were" in lines[-1]
    told = result.stderr.splitlines()
    assert len(told) == 2 and all(line.startswith("warning: ") for line in told)
    assert "pose.npy: its 18 rows are all the same" in told[0]
    assert "known by its name only" in told[1]


def test_a_folder_as_json(folder):
    result = run(str(folder), "--output", "json", "--fingerprint", "ab" * 32, "--licence", "MIT-0")
    done = json.loads(result.stdout)
    assert (done["commit"], done["dry_run"], len(done["directions"])) == (1, False, 2)
    card = Catalog().get(done["directions"][0]["direction_id"])
    assert done["directions"][0]["new"] and done["directions"][0]["file"].endswith("age.pt")
    assert (card.generator_fingerprint, card.licence) == ("ab" * 32, "MIT-0")
    assert done["directions"][1]["shape"] == [32]
    assert done["directions"][1]["norm"] == pytest.approx(1)
    assert done["skipped"][0]["file"].endswith("notes.txt") and len(done["warnings"]) == 1
    again = json.loads(
        run(str(folder), "-o", "json", "--fingerprint", "ab" * 32, "--licence", "x").stdout
    )
    assert again["publication_id"] is None and again["commit"] is None
    assert [each["new"] for each in again["directions"]] == [False, False]


def test_an_export_is_imported_again(folder, tmp_path):
    """The licences.json beside the files names generator, method and licence."""
    run(str(folder), "--licence", "MIT-0")
    before = {card.direction_id: card for card in Catalog().cards()}
    Catalog().export(str(tmp_path / "out"), "npy")
    result = run(str(tmp_path / "out"), "--catalog", str(tmp_path / "other"))
    assert result.exit_code == 0, result.exception
    assert "not imported" not in result.stdout and "2 directions imported" in result.stdout
    for card in Catalog(tmp_path / "other").cards():
        told = before[card.direction_id]
        assert (card.licence, card.method, card.generator) == ("MIT-0", "e4e", told.generator)
        assert card.vector.tobytes() == told.vector.tobytes()
    again = run(str(tmp_path / "out"))
    assert "0 directions imported" in again.stdout and "2 were there already" in again.stdout


def test_a_terminal_obeys_no_name_of_others(folder, tmp_path):
    from storage.exchange.card_json import to_json
    from tests.storage.sample_cards import sample_card

    path = tmp_path / "cards.json"
    path.write_bytes(to_json([sample_card(attribute="a\x1b[31m\nb", generator="g\x1b[2J")]))
    result = run(str(path))
    assert result.exit_code == 0 and "\x1b" not in result.output
    assert "a[31mb, w, ridge" in result.stdout


def test_a_dry_run(folder, tmp_path):
    result = run(str(folder), "--dry-run")
    assert "2 directions would be imported into" in result.stdout
    assert not (tmp_path / "catalog").exists()


def test_options_reach_the_card(folder):
    result = run(
        *(str(folder / "age.pt"), "--generator", "mine", "--space", "W", "--attribute", "old"),
        *("--unit", "years", "--method", "guess", "--source", "https://example.org"),
        *("--layers", "0-2,5", "--licence", "CC0-1.0"),
    )
    assert result.exit_code == 0, result.exception
    (card,) = Catalog().cards()
    assert (card.generator, card.attribute, card.unit, card.method) == (
        *("mine", "old", "years", "guess"),
    )
    assert (card.layers, card.licence, card.source) == (
        *((0, 1, 2, 5), "CC0-1.0", "https://example.org"),
    )
    assert card.provenance.code_version not in ("", "unknown")


def test_the_fingerprint_of_a_checkpoint(folder, tmp_path):
    """Of a small network with random weights: its cards are then those of the generator."""
    weights = tmp_path / "weights.safetensors"
    save(checkpoint("stylegan2"), weights)
    result = run(str(folder / "age.pt"), "--checkpoint", str(weights))
    assert result.exit_code == 0, result.exception
    (card,) = Catalog().cards()
    made = make_generator("stylegan2", checkpoint=str(weights), device="cpu")
    assert card.generator_fingerprint == made.fingerprint()
    assert (card.generator, card.generator_licence) == ("stylegan2", "for tests")


@pytest.mark.parametrize(
    ("text", "rows"),
    [("0-7", tuple(range(8))), ("3", (3,)), ("4-6,0, 1", (0, 1, 4, 5, 6)), ("7-7", (7,))],
)
def test_layers(text, rows):
    assert parse_layers(text) == rows and parse_layers(None) == ()


@pytest.mark.parametrize(
    "text", ["", "7-0", "a", "0-", "-1", "0-256", "1;2", "1,,2", "0-7-9", "1.5"]
)
def test_layers_that_are_none(text):
    with pytest.raises(InputError, match="expected rows of W"):
        parse_layers(text)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing",), "does not exist"),
        (("e4e/notes.txt",), "no known format"),
        (("e4e", "--attribute", "age"), "2 directions came and one attribute"),
        (("e4e", "--space", "x"), "expected one of z, w, w+, s"),
        (("e4e", "--layers", "x"), "expected rows of W+"),
        (("e4e", "--fingerprint", "ab", "--checkpoint", "x"), "expected one of the two"),
        (("e4e", "--checkpoint", "no-such-file"), "no-such-file"),
    ],
)
def test_mistakes_are_said_before_anything_is_published(folder, monkeypatch, arguments, says):
    monkeypatch.chdir(folder.parent)
    result = run(*arguments)
    assert isinstance(result.exception, InputError) and says in str(result.exception)
    assert result.stdout == "" and not (folder.parent / "catalog").exists()


def test_help_needs_no_heavy_package():
    code = "import sys, jobs.cli_exchange; print([m for m in ('pyarrow', 'deltalake', 'pandas', "
    code += "'torch', 'ray', 'safetensors') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif("LODE_MODELS" not in os.environ, reason="LODE_MODELS is not set")
def test_all_published_directions_in_one_command(tmp_path):
    root = Path(os.environ["LODE_MODELS"]).parent / "directions"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    done = json.loads(run(str(root), "--catalog", str(tmp_path / "all"), "-o", "json").stdout)
    assert done["commit"] == 1 and done["skipped"] == []
    assert len({each["file"] for each in done["directions"]}) == sum(
        path.is_file() for path in root.rglob("*")
    )
