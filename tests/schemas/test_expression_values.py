"""Expressions over columns: kinds are checked first, what is unknown stays so, and a slow
three-valued evaluator in plain Python agrees."""

from __future__ import annotations

import decimal
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.expression_tree import (
    And,
    Arithmetic,
    Call,
    Compare,
    Expression,
    In,
    IsNull,
    Name,
    Negate,
    Not,
    Number,
    Or,
    Text,
    Truth,
)
from schemas.expression_values import check, check_condition, evaluate, kind_of, kinds_of
from schemas.expressions import parse
from schemas.samples import to_column

KINDS = {
    "yaw": "number",
    "smile": ("number", ()),
    "space": "text",
    "ok": "truth",
    "age leak": "number",
    "landmarks": ("number", (68, 2)),
    "box": ("number", (4,)),
}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("yaw", "number"),
        ("smile", "number"),
        ("space", "text"),
        ("yaw > 1", "truth"),
        ("landmarks", ("number", (68, 2))),
        ("landmarks[36]", ("number", (2,))),
        ("landmarks[36, 0]", "number"),
        ("landmarks * 2 + yaw", ("number", (68, 2))),
        ("norm(landmarks)", ("number", (68,))),
        ("mean(norm(landmarks))", "number"),
        ("max(yaw, 3)", "number"),
        ("max(box, yaw)", ("number", (4,))),
        ("if(ok, space, 'none')", "text"),
        ("if(ok, box, 0)", ("number", (4,))),
        ("coalesce(ok, false)", "truth"),
        ("landmarks is null", "truth"),
        ("ok = (yaw > 1)", "truth"),
        ("not ok, space in ('w')", "truth"),
    ],
)
def test_kinds(text, kind):
    expression = parse(text)
    assert check(expression, KINDS) == kind
    assert expression.is_condition(KINDS) == (kind == "truth")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yav > 1", "unknown name 'yav'; did you mean 'yaw'"),
        ("yaw > 'w'", "compares a number with a text"),
        ("space > 3", "compares a text with a number"),
        ("ok = 1", "compares a truth value with a number"),
        ("ok < true", "orders truth values by <"),
        ("ok + 1", "'ok' is a truth value; expected a number or if"),
        ("-space", "'space' is a text; expected a number"),
        ("2 ** ok", "'ok' is a truth value"),
        ("abs(space)", "'space' is a text"),
        ("yaw and ok", "'yaw' is a number; expected a condition"),
        ("not space", "'space' is a text; expected a condition"),
        ("if(yaw, 1, 2)", "'yaw' is a number; expected a condition"),
        ("if(ok, 1, 'a')", "gives a text or a number"),
        ("coalesce(yaw, ok)", "gives a truth value or a number"),
        ("yaw in ('a')", "'a'"),
        ("space in (1)", "'1' beside a text"),
        ("ok in (1)", "'1' beside a truth value"),
        ("landmarks > 1", "numbers of the shape (68, 2); expected one value"),
        ("box in (1)", "expected one value"),
        ("landmarks[68]", "the index 68; expected 0 to 67"),
        ("landmarks[0, 2]", "the index 2; expected 0 to 1"),
        ("landmarks[0, 0, 0]", "3 indices"),
        ("yaw[0]", "1 indices, but 'yaw' is a number; expected none"),
        ("space[0]", "'space' is a text; expected none"),
        ("box + landmarks", "joins the shapes (4,) and (68, 2)"),
        ("max(yaw)", "expected two or more arguments, or one with a shape"),
        ("norm(ok)", "'ok' is a truth value"),
    ],
)
def test_what_does_not_go_together_is_refused_before_data_is_read(text, said):
    with pytest.raises(InputError) as caught:
        check(parse(text), KINDS, "--where")
    message = str(caught.value)
    assert message.startswith("--where: ")
    assert said in message


def test_a_filter_wants_a_condition():
    check_condition(parse("yaw > 1"), KINDS, "--where")
    with pytest.raises(InputError, match="--where: 'yaw' is a number; expected a condition"):
        check_condition(parse("yaw"), KINDS, "--where")


def test_kinds_of_arrow_types():
    point = pa.list_(pa.list_(pa.float32(), 2), 68)
    schema = pa.schema(
        {
            "a": pa.int64(),
            "b": pa.float16(),
            "c": pa.decimal128(5, 2),
            "d": pa.bool_(),
            "e": pa.dictionary(pa.int8(), pa.string()),
            "f": pa.large_string(),
            "g": point,
            "image": pa.binary(),
            "when": pa.timestamp("us"),
            "list": pa.list_(pa.float32()),
            "texts": pa.list_(pa.string(), 2),
        }
    )
    numbers = {"a": "number", "b": "number", "c": "number", "g": ("number", (68, 2))}
    assert kinds_of(schema) == numbers | {"d": "truth", "e": "text", "f": "text"}
    assert kind_of(pa.null()) is None


NAN = math.nan
X = [1.0, -2.0, NAN, 4.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", X),
        ("-x + 2 * x - x / 2", [0.5, -1.0, NAN, 2.0]),
        ("x - 1 - 1", [-1.0, -4.0, NAN, 2.0]),
        ("8 / x / 2", [4.0, -2.0, NAN, 1.0]),
        ("1 / (x - 1)", [NAN, -1 / 3, NAN, 1 / 3]),
        ("x / 0", [NAN] * 4),
        ("0 / 0", [NAN] * 4),
        ("x ** 2", [1.0, 4.0, NAN, 16.0]),
        ("x ** 0.5", [1.0, NAN, NAN, 2.0]),
        ("x ** 0", [1.0, 1.0, NAN, 1.0]),
        ("1 ** x", [1.0, 1.0, NAN, 1.0]),
        ("0 ** -1", [NAN] * 4),
        ("10 ** 10 ** 10", [NAN] * 4),
        ("1 / 10 ** 10 ** 10", [NAN] * 4),
        ("1e308 * 10 * 0", [NAN] * 4),
        ("abs(x)", [1.0, 2.0, NAN, 4.0]),
        ("|x - 2|", [1.0, 4.0, NAN, 2.0]),
        ("sqrt(x)", [1.0, NAN, NAN, 2.0]),
        ("log(exp(x))", X),
        ("log(x - x)", [NAN] * 4),
        ("exp(1000 * x)", [NAN, 0.0, NAN, NAN]),
        ("floor(x / 4)", [0.0, -1.0, NAN, 1.0]),
        ("ceil(x / 4)", [1.0, 0.0, NAN, 1.0]),
        ("round(x / 4 + 0.25)", [0.0, 0.0, NAN, 1.0]),
        ("sin(30) + cos(60) + tan(45)", [2.0] * 4),
        ("atan2(x, -x)", [135.0, -45.0, NAN, 135.0]),
        ("min(x, 2, 3)", [1.0, -2.0, NAN, 2.0]),
        ("max(2, x)", [2.0, 2.0, NAN, 4.0]),
        ("mean(x, 3, 2)", [2.0, 1.0, NAN, 3.0]),
        ("mean(1, 2)", [1.5] * 4),
        ("norm(3, 4 * x)", [5.0, math.sqrt(73), NAN, math.sqrt(265)]),
        ("norm(3, 4)", [5.0] * 4),
        ("if(x > 0, x, 0)", [1.0, 0.0, NAN, 4.0]),
        ("if(x is null, 7, x)", [1.0, -2.0, 7.0, 4.0]),
        ("if(true, x, 0)", X),
        ("coalesce(x, sqrt(x), 9)", [1.0, -2.0, 9.0, 4.0]),
    ],
)
def test_numbers(text, expected):
    found = evaluate(parse(text), {"x": np.array(X)})
    np.testing.assert_allclose(found.values, expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(found.known, ~np.isnan(expected))
    np.testing.assert_array_equal(found.numbers(), found.values)


@pytest.mark.parametrize(
    ("text", "expected"),  # true, false or unknown
    [
        ("x > 0", "TF?T"),
        ("0 < x", "TF?T"),
        ("-5 < x", "TT?T"),
        ("not x > 0", "FT?F"),
        ("0 < x < 4", "TF?F"),
        ("0 < x != 4 >= 1", "TF?F"),
        ("x between 1 and 4", "TF?T"),
        ("x in (1, -2)", "TT?F"),
        ("x not in (1, -2)", "FF?T"),
        ("2 in (1, 2)", "TTTT"),
        ("x is null", "FFTF"),
        ("x / 0 is not null", "FFFF"),
        ("x > 0 and false", "FFFF"),
        ("x > 0 and true", "TF?T"),
        ("x > 0 or true", "TTTT"),
        ("x > 0 or false", "TF?T"),
        ("x > 0, s = 'a'", "TFFF"),
        ("x > 0, s = 'b'", "FF?F"),
        ("x > 0 or s = 'a'", "T??T"),
        ("x > 0 or s = 'b'", "T?TT"),
        ("s = 'a'", "T?FF"),
        ("s != 'a'", "F?TT"),
        ("s <= 'b'", "T?TF"),
        ("'a' < s <= 'zz'", "F?TF"),
        ("s in ('a', 'ü')", "T?FT"),
        ("s not in ('a', 'ü')", "F?TF"),
        ("'a' in ('b')", "FFFF"),
        ("'a' = 'a'", "TTTT"),
        ("s is null", "FTFF"),
        ("ok", "TF?F"),
        ("ok = true", "TF?F"),
        ("ok != (x > 0)", "FF?T"),
        ("ok is null", "FFTF"),
        ("true", "TTTT"),
        ("if(ok, x > 3, s = 'ü')", "F??T"),
        ("if(ok, false, false)", "FF?F"),
        ("coalesce(ok, s = 'b')", "TFTF"),
        ("coalesce(s, 'b') = 'b'", "FTTF"),
        ("if(x > 0, s, 'c') = 'c'", "FT?F"),
        ("if(1 / 0 > 1, 'a', 'b') is null", "TTTT"),
        ("if(true, 'a', 'b') = 'a'", "TTTT"),
        ("coalesce('a', s) = 'a'", "TTTT"),
        ("1 < 2", "TTTT"),
        ("1 / 0 > 1", "????"),
    ],
)
def test_conditions(text, expected):
    columns = {
        "x": np.array(X),
        "s": pa.array(["a", None, "b", "ü"]),
        "ok": pa.array([True, False, None, False]),
    }
    found = evaluate(parse(text), columns, rows=4)
    said = np.where(found.known, np.where(found.values, "T", "F"), "?")
    assert "".join(said) == expected
    np.testing.assert_array_equal(found.kept(), said == "T")
    assert not found.values[~found.known].any()
    numbers = [{"T": 1.0, "F": 0.0, "?": NAN}[one] for one in expected]
    np.testing.assert_array_equal(found.numbers(), numbers)


COLUMNS = {
    "int64": pa.array([1, None, 3]),
    "float32": pa.array([1, NAN, 3], pa.float32()),
    "float16": pa.array([1, None, 3], pa.float16()),
    "uint8": pa.array([1, None, 3], pa.uint8()),
    "decimal": pa.array([decimal.Decimal("1.0"), None, decimal.Decimal("3.0")]),
    "dictionary": pa.array([1, None, 3]).dictionary_encode(),
    "infinite": pa.array([1.0, math.inf, 3.0]),
    "chunks": pa.chunked_array([[1], [], [None, 3]], pa.int32()),
    "sliced": pa.array([9, 1, None, 3, 9]).slice(1, 3),
    "numpy": np.array([1, NAN, 3], np.float32),
    "objects": np.array([1, None, 3], object),
    "pandas": pd.Series([1, None, 3], dtype="Int64"),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_every_type_of_number_is_read(column):
    found = evaluate(parse("x * 2"), {"x": column})
    np.testing.assert_array_equal(found.values, [2, NAN, 6])
    assert found.values.dtype == np.float64
    assert found.known.tolist() == [True, False, True]


TEXTS = {
    "string": pa.array(["a", None, "b"]),
    "large": pa.array(["a", None, "b"], pa.large_string()),
    "view": pa.array(["a", None, "b"], pa.string_view()),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "chunks": pa.chunked_array([["a"], [None, "b"]]),
    "objects": np.array(["a", None, "b"], object),
    "gaps": np.array(["a", NAN, "b"], object),
    "pandas": pd.Series(["a", None, "b"]),
    "categories": pd.Series(["a", None, "b"], dtype="category"),
}


@pytest.mark.parametrize("column", TEXTS.values(), ids=TEXTS)
def test_every_type_of_text_is_read(column):
    found = evaluate(parse("s"), {"s": column})
    assert found.values.tolist() == ["a", None, "b"]
    assert found.known.tolist() == [True, False, True]
    assert evaluate(parse("s = 'a'"), {"s": column}).kept().tolist() == [True, False, False]


def test_numpy_texts_and_truths_are_read():
    columns = {"s": np.array(["a", "b"]), "ok": np.array([True, False])}
    assert evaluate(parse("s = 'b' or ok"), columns).kept().all()
    gaps = {"ok": np.array([True, None], object)}
    assert evaluate(parse("ok"), gaps).known.tolist() == [True, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"a"]),
        pa.array([[1.0]]),
        pa.array([0], pa.timestamp("s")),
        np.array(["2026-01-01"], "datetime64[s]"),
        np.array([1 + 2j]),
        np.array([[1], "a"], object)[:1],
        np.array([2**70], object),
        np.array([{}], object),
        np.array([object()], object),
    ],
    ids=lambda column: str(
        getattr(column, "type", column.dtype if hasattr(column, "dtype") else "")
    ),
)
def test_other_types_are_refused(column):
    with pytest.raises(InputError, match="--where: the column 'x' "):
        evaluate(parse("x > 1"), {"x": column}, who="--where")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("text", "x = 'a'"), ("truth", "x"), ("number", "x > 1"), (("number", (2,)), "x[1] > 0")],
)
def test_nulls_of_no_type_are_of_the_kind_that_is_said(kind, text):
    for column in (pa.nulls(2), np.array([None, None], object)):
        found = evaluate(parse(text), {"x": column}, kinds={"x": kind})
        assert not found.known.any()


def test_columns_of_other_lengths_are_refused():
    columns = {"a": np.ones(3), "b": np.ones(2)}
    with pytest.raises(InputError, match="the column 'b' has 2 rows; expected 3"):
        evaluate(parse("a > b"), columns)
    with pytest.raises(InputError, match="how many rows"):
        evaluate(parse("1 < 2"), {})
    assert evaluate(parse("1 < 2"), {"a": np.ones(3)}).values.tolist() == [True] * 3
    assert evaluate(parse("a"), {"a": np.ones(0)}).values.shape == (0,)
    with pytest.raises(InputError, match="unknown name 'aa'; did you mean 'a'"):
        evaluate(parse("aa > 1"), columns)


@pytest.fixture
def points(rng):
    """(5, 3, 2) points; row 1 has no face, and entry [2, 1, 0] is not measured."""
    values = rng.normal(size=(5, 3, 2)).astype(np.float32)
    values[1], values[2, 1, 0] = NAN, NAN
    return values


@pytest.mark.parametrize("arrow", ["numpy", "arrow", "sliced", "chunks", "inner"])
def test_columns_with_a_shape(points, arrow):
    nested = to_column(points, np.isnan(points).all(axis=(1, 2)))
    column = {
        "numpy": points,
        "arrow": nested,
        "sliced": pa.concat_arrays([nested, nested, nested]).slice(5, 5),
        "chunks": pa.chunked_array([nested.slice(0, 2), nested.slice(2)]),
        # null points and null coordinates within rows that are there
        "inner": pa.array(
            [
                [None] * 3,
                *([[None if np.isnan(x) else x for x in xy] for xy in row] for row in points),
            ],
            pa.list_(pa.list_(pa.float32(), 2), 3),
        ).slice(1),
    }[arrow]
    exact = points.astype(np.float64)

    def found(text):
        values = evaluate(parse(text), {"p": column})
        np.testing.assert_array_equal(
            values.known, ~np.isnan(values.values).any(axis=tuple(range(1, values.values.ndim)))
        )
        return values

    np.testing.assert_array_equal(found("p").values, exact)
    assert found("p").known.tolist() == [True, False, False, True, True]
    np.testing.assert_array_equal(found("p[0, 1]").values, exact[:, 0, 1])
    assert found("p[0]").known.tolist() == [True, False, True, True, True]
    assert found("p[1] is null").values.tolist() == [False, True, True, False, False]
    distance = np.linalg.norm(exact[:, 0] - exact[:, 2], axis=-1)
    np.testing.assert_allclose(found("norm(p[0] - p[2])").values, distance, rtol=1e-15)
    np.testing.assert_allclose(
        found("mean(norm(p))").values, np.linalg.norm(exact, axis=-1).mean(-1)
    )
    np.testing.assert_array_equal(found("min(p)").values, exact.min(-1))
    np.testing.assert_array_equal(found("max(p, 0)[1]").values, np.maximum(exact, 0)[:, 1])
    np.testing.assert_array_equal(found("p * p[0, 0]").values, exact * exact[:, :1, :1])
    filled = found("coalesce(p[1], p[0])").values  # whole rows, not single entries
    np.testing.assert_array_equal(filled[2], exact[2, 0])
    chosen = found("if(p[0, 0] > 0, p, 0)").values
    np.testing.assert_array_equal(chosen[3], exact[3] if exact[3, 0, 0] > 0 else np.zeros((3, 2)))


@pytest.mark.parametrize("count", [0, 1, 1000, 20_011])
def test_many_rows_are_read_in_blocks(rng, count):
    values = rng.normal(size=(count, 68, 2))
    columns = {
        "p": to_column(values),
        "s": pa.array(["a", None] * count, pa.string()).slice(0, count),
    }
    found = evaluate(parse("if(s = 'a', p[1], p[0])"), columns)
    np.testing.assert_array_equal(found.values[::2], values[::2, 1])
    assert found.known.tolist() == [index % 2 == 0 for index in range(count)]
    texts = evaluate(parse("if(p[0, 0] > 0, s, 'none')"), columns)
    expected = np.where(values[:, 0, 0] > 0, columns["s"].to_numpy(zero_copy_only=False), "none")
    assert texts.values.tolist() == expected.tolist()


def test_whole_numbers_with_a_shape():
    nested = pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2))
    found = evaluate(parse("n"), {"n": nested})
    np.testing.assert_array_equal(found.values, [[1, 2], [NAN, NAN], [3, NAN]])
    assert found.known.tolist() == [True, False, False]


# the slow evaluator: one row at a time, None for what is unknown


def slow(node, row):
    match node:
        case Number(value) | Text(value) | Truth(value):
            return value
        case Name(name):
            return row[name]
        case Negate(operand):
            value = slow(operand, row)
            return None if value is None else -value
        case Arithmetic(first, rest):
            total = slow(first, row)
            for operator, operand in rest:
                total = slow_arithmetic(operator, total, slow(operand, row))
            return total
        case Not(operand):
            value = slow(operand, row)
            return None if value is None else not value
        case And(operands):
            return slow_and([slow(operand, row) for operand in operands])
        case Or(operands):
            opposite = [slow(Not(operand), row) for operand in operands]
            value = slow_and(opposite)
            return None if value is None else not value
        case Compare(first, rest):
            values = [slow(first, row), *(slow(operand, row) for _, operand in rest)]
            pairs = zip(rest, values, values[1:], strict=False)
            return slow_and([slow_compare(operator, a, b) for (operator, _), a, b in pairs])
        case In(value, options):
            left = slow(value, row)
            return None if left is None else left in [slow(option, row) for option in options]
        case IsNull(value):
            return slow(value, row) is None
        case Call(name, arguments):
            return slow_call(name, [slow(argument, row) for argument in arguments])


def slow_finite(value):
    return value if math.isfinite(value) else None


def slow_arithmetic(operator, a, b):
    if a is None or b is None or (operator == "/" and b == 0):
        return None
    return slow_finite({"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1)}[operator])


def slow_and(values):
    if any(value is False for value in values):
        return False
    return None if None in values else True


def slow_compare(operator, a, b):
    if a is None or b is None:
        return None
    order = {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "=": a == b, "!=": a != b}
    return order[operator]


def slow_call(name, values):
    if name == "coalesce":
        return next((value for value in values if value is not None), None)
    if name == "if":
        return None if values[0] is None else values[1] if values[0] else values[2]
    if None in values:
        return None
    if name == "sqrt" and values[0] < 0:
        return None
    if name == "norm":
        return slow_finite(math.sqrt(slow_sum(value * value for value in values)))
    if name == "mean":
        return slow_finite(slow_sum(values) / len(values))
    plain = {"abs": abs, "floor": math.floor, "ceil": math.ceil, "round": round, "sqrt": math.sqrt}
    return float({**plain, "min": min, "max": max}[name](*values))


def slow_sum(values):
    """From left to right; Python's own sum compensates for rounding."""
    total = 0.0
    for value in values:
        total += value
    return total


EDGES = st.sampled_from([0.0, 1.0, 2.0, 0.5, 1e308, 5e-324, 3.7])
ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(["x", "y", "age leak"], st.none() | EDGES | EDGES.map(lambda v: -v)),
        **dict.fromkeys(["s", "t"], st.none() | st.sampled_from(["", "a", "b", "ß", "\U0001f600"])),
        "ok": st.none() | st.booleans(),
    }
)


def several(items, least=1):
    return st.lists(items, min_size=least, max_size=3).map(tuple)


def pairs(operators, items):
    return several(st.tuples(st.sampled_from(operators), items))


def trees(depth):
    """Strategies for numbers, texts and conditions of a depth."""
    numbers = st.one_of(EDGES.map(Number), st.sampled_from(["x", "y", "age leak"]).map(Name))
    texts = st.one_of(st.sampled_from(["", "a", "ß"]).map(Text), st.sampled_from("st").map(Name))
    truths = st.one_of(st.booleans().map(Truth), st.just(Name("ok")))
    for _ in range(depth):
        numbers, texts, truths = deeper(numbers, texts, truths)
    return numbers, texts, truths


def deeper(numbers, texts, truths):
    orders = ["<", "<=", ">", ">=", "=", "!="]

    def call(names, *arguments):
        return st.builds(Call, st.sampled_from(names), st.tuples(*arguments))

    def either(items):
        return call(["if"], truths, items, items) | call(["coalesce"], items, items)

    return (
        st.one_of(
            numbers,
            st.builds(Negate, numbers),
            st.builds(Arithmetic, numbers, pairs(["+", "-"], numbers)),
            st.builds(Arithmetic, numbers, pairs(["*", "/"], numbers)),
            call(["abs", "sqrt", "floor", "ceil", "round"], numbers),
            call(["min", "max", "mean", "norm"], numbers, numbers, numbers),
            either(numbers),
        ),
        texts | either(texts),
        st.one_of(
            truths,
            st.builds(Not, truths),
            several(truths, 2).map(And),
            several(truths, 2).map(Or),
            st.builds(Compare, numbers, pairs(orders, numbers)),
            st.builds(Compare, texts, pairs(orders, texts)),
            st.builds(Compare, truths, pairs(["=", "!="], truths)),
            st.builds(In, numbers, several(EDGES.map(Number) | EDGES.map(Number).map(Negate))),
            st.builds(In, texts, several(st.sampled_from(["a", "ß"]).map(Text))),
            st.builds(IsNull, st.one_of(numbers, texts, truths)),
            either(truths),
        ),
    )


def columns_of(rows, arrow):
    """The rows' columns, as Arrow with nulls or as NumPy with NaN and objects."""
    types = dict.fromkeys(["x", "y", "age leak"], pa.float64())
    types |= {"s": pa.string(), "t": pa.string(), "ok": pa.bool_()}
    columns = {name: pa.array([row[name] for row in rows], types[name]) for name in types}
    if arrow:
        return columns, {}
    kinds = {
        name: {"double": "number", "string": "text", "bool": "truth"}[str(types[name])]
        for name in types
    }
    return {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}, kinds


@settings(max_examples=500)
@given(st.one_of(*trees(1), *trees(3)), st.lists(ROW, min_size=1, max_size=6), st.booleans())
def test_the_slow_evaluator_agrees(root, rows, arrow):
    expression = Expression(root)
    assert parse(expression.text) == expression
    columns, kinds = columns_of(rows, arrow)
    found = evaluate(expression, columns, kinds=kinds)
    expected = [slow(root, row) for row in rows]
    assert found.known.tolist() == [value is not None for value in expected]
    assert found.values[found.known].tolist() == [value for value in expected if value is not None]


@settings(max_examples=200)
@given(trees(3)[2], st.lists(ROW, min_size=1, max_size=6))
def test_no_row_is_kept_by_a_condition_and_its_opposite(root, rows):
    columns, _ = columns_of(rows, arrow=True)
    kept = evaluate(Expression(root), columns).kept()
    opposite = evaluate(parse(f"not ({Expression(root).text})"), columns).kept()
    unknown = evaluate(parse(f"({Expression(root).text}) is null"), columns).kept()
    assert (kept.astype(int) + opposite + unknown == 1).all()
