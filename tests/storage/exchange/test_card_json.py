"""Cards as JSON: nothing is lost, and what a stranger wrote is read with care."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.directions import Artefact
from schemas.errors import CorruptDataError, InputError, LodeError
from storage.exchange.card_json import MOST_VALUES, from_json, looks_like_cards, to_json
from tests.storage.exchange.any_card import any_card, mutations, same
from tests.storage.sample_cards import sample_card


@given(st.lists(any_card(), max_size=3))
def test_cards_come_back_to_the_bit(cards):
    data = to_json(cards)
    assert looks_like_cards(data)
    read = from_json(data)
    assert len(read) == len(cards)
    for one, other in zip(cards, read, strict=True):
        same(one, other)


def test_an_artefact_comes_back():
    card = sample_card(vector=np.zeros(0, np.float32), artefact=Artefact("flow", "a" * 64, 7))
    same(from_json(to_json([card]))[0], card)


def test_it_is_plain_json_that_any_reader_takes():
    document = json.loads(to_json([sample_card()]), parse_constant=pytest.fail)
    assert (document["latentlode"], document["version"]) == ("cards", 1)
    assert document["cards"][0]["slope"] is None


def test_a_document_that_lacks_newer_fields_has_their_defaults():
    document = json.loads(to_json([sample_card()]))
    for name in ("calibration", "artefact", "stability", "source", "licence", "tags", "leak_low"):
        del document["cards"][0][name]
    same(from_json(json.dumps(document).encode())[0], sample_card())


def changed(old: str, new: str) -> bytes:
    text = to_json([sample_card()]).decode()
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "a list of 0"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"latentlode": "report", "version": 1}', "no cards"),
        (b'{"latentlode": "cards", "version": 2, "cards": [{"new": 1}]}', "version 2.*install"),
        (b'{"latentlode": "cards", "version": 1, "cards": [1]}', "card 0: a int"),
        (b'{"latentlode": "cards", "version": 1, "cards": {}}', "a list"),
        (changed('"unit"', '"units"'), "no field 'unit'"),
        (changed('"slope"', '"slopes"'), "unknown field 'slopes'.*upgrade"),
        (changed('"seed": 0', '"seed": 1e4'), "seed"),
        (changed('"seed": 0', '"seed": 9223372036854775808'), "seed"),
        (changed('"seed": 0', f'"seed": {"9" * 5000}'), "not JSON"),
        (changed('"sigma": 0.5', '"sigma": true'), "sigma: True"),
        (changed('"sigma": 0.5', '"sigma": "0.5"'), "sigma"),
        (changed('"sigma": 0.5', '"sigma": NaN'), "NaN"),
        (changed('"sigma": 0.5', '"sigma": 1e999'), "sigma"),
        (changed('"sigma": 0.5', f'"sigma": {"9" * 400}'), "sigma"),
        (changed('"layers": []', '"layers": [-1]'), "layers"),
        (changed('"space": "w"', '"space": "x"'), "space: 'x'"),
        (changed('"notes": ""', '"notes": "\\ud800"'), "notes.*surrogate"),
        (changed('"created_at": null', '"created_at": "noon"'), "created_at: 'noon'"),
        (
            changed('"artefact": null', '"artefact": {"kind": "flow", "sha256": "..", "bytes": 1}'),
            "64 hex",
        ),
        (changed('"version": null', '"version": 0'), "from 1"),
        (changed('"float32": "', '"float32": "*'), "base64"),
        (changed('"float32": "', '"float32": "AAAA'), "bytes|base64"),
        (changed('"float32": "', '"tensor": "'), "missing"),
        (changed("     8\n", "     2147483647\n"), "at most"),
        (changed("     8\n", "     8,1,1\n"), "3 axes"),
        (b'{"latentlode": "cards", "x": [' + b"0," * MOST_VALUES + b"0]}", "values"),
    ],
)
def test_what_is_no_document_of_cards_is_refused(data, said):
    with pytest.raises(InputError, match=f"(?s)mine.json.*{said}"):
        from_json(data, "mine.json")


@pytest.mark.parametrize("old", ['"attribute": "smile"', '"method": "ridge"', '"seed": 0'])
def test_a_card_that_was_edited_is_not_taken_for_the_published_one(old):
    new = old.replace("smile", "smirk").replace("ridge", "svm").replace("0", "1")
    with pytest.raises(CorruptDataError, match="edited"):
        from_json(changed(old, new))


def test_half_a_surrogate_pair_is_refused_when_written():
    with pytest.raises(InputError, match="Unicode"):
        to_json([sample_card(notes="\ud800")])


def test_mutated_documents_raise_nothing_but_our_own_error():
    data = to_json([sample_card(), sample_card(1, (3, 8), layers=(0, 2))])
    refused = 0
    for mutated in mutations(data, 600, seed=1):
        try:
            from_json(mutated)
        except LodeError:
            refused += 1
    assert refused > 300  # the others changed what decides nothing, as a note


def test_a_document_of_nothing_but_brackets_takes_little_memory():
    data = b'{"latentlode": "cards", "version": 1, "cards": [' + b"[]," * 990_000 + b"[]]}"
    tracemalloc.start()
    with pytest.raises(InputError):
        from_json(data)
    assert tracemalloc.get_traced_memory()[1] < 256 << 20
    tracemalloc.stop()
