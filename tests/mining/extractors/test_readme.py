"""The settings that the README shows are settings that the extractors take."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from mining.extractors.onnx_description_file import read_description
from mining.extractors.registry import EXTRACTORS, unmarked
from schemas.registry import fitted_options, load

README = Path(__file__).parents[3] / "mining" / "extractors" / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)


def test_every_extractor_is_shown_with_options_that_it_takes():
    shown = yaml.safe_load(blocks()[0])["extractors"]
    assert {unmarked(name) for name in shown} == set(EXTRACTORS)
    for name, options in shown.items():
        make = load("extractor", unmarked(name), EXTRACTORS)
        fitted_options(f"extractor {name!r}", make, options)
    kinds = {options.get("model_kind", "head") for options in shown.values()}
    assert kinds == {"head", "bfm", "flame", "surrey"}


def test_the_description_of_an_onnx_model_can_be_read(tmp_path):
    (tmp_path / "wears.yaml").write_text(blocks()[1])
    about = read_description("the README", str(tmp_path / "wears.yaml"), None)
    assert [list(part.columns) for part in about.outputs] == [["glasses", "beard"]]
