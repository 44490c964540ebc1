"""Conditions and orders over cards, against plain Python over the same cards."""

from __future__ import annotations

import math

import numpy as np
import pytest

from schemas.directions import Calibration, DirectionCard, Response
from schemas.errors import InputError
from storage import finding, snapshots
from storage.catalog import Catalog
from tests.storage.sample_cards import responses, sample_card


def moved(attribute: str, relative: float) -> Response:
    """A response of so many spreads per step of norm 1."""
    return Response(attribute, "1", 2 * relative, math.nan, math.nan, spread=2.0)


CARDS = [
    # one natural step of 0.5 moves the smile by 0.5 spreads; age leaks by 0.01
    sample_card(1, sigma=0.5, responses=(moved("smile", 1.0), moved("age", -0.01))),
    sample_card(2, sigma=0.5, method="svm", responses=(moved("smile", 1.0), moved("age", -0.2))),
    sample_card(3, sigma=0.1, method="lda", responses=(moved("smile", 1.0), moved("age", 0.0))),
    # sigma unmeasured counts as 1
    sample_card(4, sigma=math.nan, attribute="age", responses=(moved("age", 2.0),)),
    sample_card(5, attribute="yaw", space="z", responses=(), truth_cosine=None, slope=7.0),
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    """The cards above, and an older version of the first."""
    catalog = Catalog(tmp_path_factory.mktemp("find") / "catalog")
    catalog.publish([sample_card(0, notes="replaced")])
    catalog.publish(CARDS)
    return catalog


def seeds(cards) -> list[int]:
    return [card.provenance.seed for card in cards]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("smile >= 0.4, |age leak| <= 0.02", [1]),
        ("smile >= 0.4", [1, 2]),
        ("smile > 0", [1, 2, 3]),
        ("age", None),
        ("age = 2", [4]),  # two spreads per step, sigma counts as 1
        ("age leak = 1", [4]),  # its own attribute
        ("age leak < -0.1", [2]),
        ("method in ('svm', 'lda')", [2, 3]),
        ("truth > 0.5 and method = 'ridge'", [1, 4]),
        ("truth is null", [5]),
        ("leak is null", [4, 5]),
        ("not (leak > 0.1)", [1, 3]),  # what is unknown stays out
        ("slope between 6 and 8", [5]),
        ("version = 2", [1]),
        ("latest", [1, 2, 3, 4, 5]),
        ("commit = 2 and space = 'z'", [5]),
        ("created_at > '2026-01-01' and created_at < '9'", [1, 2, 3, 4, 5]),
        ("notes = ''", [1, 2, 3, 4, 5]),
        ("true", [1, 2, 3, 4, 5]),
        ("1 > 2", []),
        ("effect_relative * sigma = 0.5", [1, 2]),
        ("`smile` >= 0.4 and attribute = 'smile'", [1, 2]),
    ],
)
def test_conditions(catalog, where, expected):
    if expected is None:
        with pytest.raises(InputError, match="where"):
            catalog.find(where)
    else:
        assert seeds(catalog.find(where)) == expected


def test_filters_and_conditions_hold_together(catalog):
    assert seeds(catalog.find("smile > 0", method="svm")) == [2]
    assert seeds(catalog.find("notes = 'replaced'", all_versions=True)) == [0]
    assert seeds(catalog.find(space="Z")) == [5]
    assert seeds(catalog.find()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"order_by": "smile"}, [3, 1, 2, 4, 5]),  # equals as published, unknown last
        ({"order_by": "smile", "descending": True}, [1, 2, 3, 4, 5]),
        ({"order_by": "|age leak|"}, [3, 1, 2, 4, 5]),
        ({"order_by": "method"}, [3, 1, 4, 5, 2]),
        ({"order_by": "method", "descending": True, "limit": 2}, [2, 1]),
        ({"order_by": "attribute = 'age'", "descending": True, "limit": 1}, [4]),
        ({"order_by": "1"}, [1, 2, 3, 4, 5]),
        ({"limit": 0}, []),
    ],
)
def test_orders(catalog, order, expected):
    assert seeds(catalog.find(**order)) == expected


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"where": "smlie > 1"}, "smile"),
        ({"where": "smile leek > 1"}, "where"),
        ({"where": "smile"}, "condition"),
        ({"where": "smile > 'a'"}, "where"),
        ({"where": "vector > 1"}, "vector"),
        ({"where": "responses > 1"}, "responses"),
        ({"order_by": "smlie"}, "smile"),
        ({"limit": -1}, "limit -1"),
        ({"attribute": "smlie"}, "did you mean 'smile'"),
        ({"where": "__import__('os')"}, "where"),
    ],
)
def test_what_cannot_be_asked_is_told(catalog, asked, says):
    with pytest.raises(InputError, match=says):
        catalog.find(**asked)


def test_a_column_precedes_an_attribute_of_its_name(tmp_path):
    catalog = Catalog(tmp_path / "catalog")
    catalog.publish([sample_card(1, attribute="leak", responses=responses("leak", 3.0, leak=0.25))])
    assert len(catalog.find("leak = 0.25")) == 1
    assert len(catalog.find("`leak leak` = 1")) == 1


def test_the_names_of_an_expression(catalog):
    names = finding.names(snapshots.current(catalog.url))
    assert {"smile", "smile leak", "age leak", "leak", "truth", "commit", "stability"} <= set(names)
    assert not {"vector", "responses", "shape"} & set(names)


def test_added_columns_can_be_asked_for(tmp_path):
    catalog = Catalog(tmp_path / "catalog")
    calibration = Calibration(0.5, -1, 2)
    catalog.publish([sample_card(1, calibration=calibration, stability=0.9, licence="MIT")])
    assert len(catalog.find("calibration_step = 0.5, stability > 0.8, licence = 'MIT'")) == 1
    assert len(catalog.find("artefact_kind is not null")) == 0


def test_the_best_where(catalog, tmp_path):
    assert catalog.best("smile", by="effect", where="leak < 0.1").method == "lda"
    assert catalog.best("smile", by="leak", where="leak > 0").provenance.seed == 1
    with pytest.raises(InputError, match="where 'smile > 9', together"):
        catalog.best("smile", where="smile > 9")


def plain(card: DirectionCard, name: str) -> float:
    """What a name means, said once more in Python."""
    other = card.response(name.removesuffix(" leak"))
    relative = other.relative if other else math.nan
    if name.endswith(" leak"):
        return relative / card.effect_relative if card.effect_relative else math.nan
    return relative * (card.sigma if math.isfinite(card.sigma) else 1.0)


def test_any_name_is_what_the_cards_say(tmp_path):
    rng = np.random.default_rng(0)
    names = ("smile", "age", "yaw")
    cards = [
        sample_card(
            seed,
            attribute=names[seed % 3],
            method=f"m{seed}",
            sigma=float(rng.choice([0.3, math.nan])),
            responses=tuple(
                moved(n, rng.choice([*rng.normal(size=3), 0])) for n in names[seed % 2 :]
            ),
        )
        for seed in range(200)
    ]
    catalog = Catalog(tmp_path / "catalog")
    for start in range(0, 200, 50):
        catalog.publish(cards[start : start + 50])
    for name in (*names, *(f"{name} leak" for name in names)):
        limit = float(rng.normal() / 4)
        expected = [c.provenance.seed for c in cards if plain(c, name) > limit]
        assert 0 < len(expected) < 200
        assert seeds(catalog.find(f"{name} > {limit}")) == expected
