"""Expressions: what can be written, its one spelling, and errors that name the place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import expressions
from schemas.errors import InputError
from schemas.expression_functions import ANY, FUNCTIONS
from schemas.expression_kinds import check
from schemas.expression_parser import MOST_DEPTH
from schemas.expression_tokens import MOST_CHARACTERS, MOST_NAME, MOST_TOKENS
from schemas.expression_tree import (
    And,
    Arithmetic,
    Call,
    Compare,
    Expression,
    In,
    Index,
    IsNull,
    Name,
    Negate,
    Not,
    Number,
    Or,
    Power,
    Text,
    Truth,
)
from schemas.expression_values import evaluate
from schemas.expressions import parse

README = Path(expressions.__file__).with_name("README.md")
SPELLINGS = {
    "yaw>20": "yaw > 20",
    "yaw == 1e3": "yaw = 1000",
    "0.3 < smile <= .9": "0.3 < smile <= 0.9",
    "yaw BETWEEN -10 AND 10": "-10 <= yaw <= 10",
    "yaw not between 1 and 2 or ok": "not 1 <= yaw <= 2 or ok",
    'space in ("w", "w+")': "space in ('w', 'w+')",
    "space Not In ('z')": "space not in ('z')",
    "not space in ('z')": "space not in ('z')",
    "truth is NOT null": "truth is not null",
    "smile >= 0.4, |age leak| <= 0.02": "smile >= 0.4 and abs(age leak) <= 0.02",
    "a or b, c": "(a or b) and c",
    "||a| - |b||": "abs(abs(a) - abs(b))",
    "`age` leak": "age leak",
    "`plain`": "plain",
    "`a w+` > 1": "`a w+` > 1",
    "`not` > 1": "`not` > 1",
    "`a``b` > 1": "`a``b` > 1",
    'note = "it\'s ""so"""': "note = 'it''s \"so\"'",
    "landmarks[36][0]": "landmarks[36, 0]",
    "(a - b)[0]": "(a - b)[0]",
    "MIN(a, b)": "min(a, b)",
    "((a))": "a",
    "min > 1": "min > 1",
}
SAME = [
    ("-x ** 2", "-(x ** 2)"),
    ("2 ** 3 ** 2", "2 ** (3 ** 2)"),
    ("2 ** -x ** 2", "2 ** (-(x ** 2))"),
    ("-a * b", "(-a) * b"),
    ("a - b * c", "a - (b * c)"),
    ("not a = b", "not (a = b)"),
    ("not a and b", "(not a) and b"),
    ("a or b and c", "a or (b and c)"),
    ("a = 1, b or c", "(a = 1) and (b or c)"),
    ("a + 1 < b", "(a + 1) < b"),
    ("x is null and y", "(x is null) and y"),
    ("-x[1]", "-(x[1])"),
]
DIFFERENT = [("a - (b - c)", "a - b - c"), ("(a < b) = c", "a < b = c"), ("(-a) ** 2", "-a ** 2")]
MISTAKES = [
    ("yaw >", "its end", "expected a number, a name, a 'text' or '('"),
    ("", "its end", "expected a number"),
    ("yaw > 20 30", "character 10", "expected an operator"),
    ("yaw > > 2", "character 7", "expected a number"),
    ("(a", "its end", "expected ')'"),
    ("|a", "its end", "expected '|'"),
    ("a)", "character 2", "expected an operator, a comma or the end"),
    ("a, ", "its end", "expected a number"),
    ("a is 3", "character 6", "expected 'null'"),
    ("a not = 3", "character 7", "expected 'in' or 'between'"),
    ("a in 3", "character 6", "expected '('"),
    ("a in (b)", "character 7", "expected a number or a 'text'"),
    ("a in (-'b')", "character 8", "expected a number or a 'text'"),
    ("a between 1, 2", "character 12", "expected 'and'"),
    ("a < b is null", "character 7", "do not chain"),
    ("a is null is null", "character 11", "do not chain"),
    ("a + not b", "character 5", "expected a number"),
    ("a[x]", "character 3", "expected an index"),
    ("a[-1]", "character 3", "expected an index"),
    ("a[1.5]", "character 3", "expected an index"),
    ("a['1']", "character 3", "expected an index"),
    ("nrm(a)", "character 1", "unknown function 'nrm'; did you mean 'norm'"),
    ("a + atan2(b)", "character 5", "atan2 has 1 arguments; expected 2"),
    ("coalesce(a)", "character 1", "expected 2 or more"),
    ("a = 'b", "character 5", "not closed"),
    ("``", "character 1", "nothing in it"),
    ("a; b", "character 2", "';' (U+003B) does not belong here"),
    ("a > 1e999", "character 5", "too large"),
    ("a = null", "character 5", "expected a number"),
    ("a.b..c 'x'", "character 8", "expected an operator"),
    ("a" * (MOST_NAME + 1), "character 1", "at most 200"),
]
HOSTILE = [
    "__import__('os').system('true')",
    "__import__",
    "a.__class__",
    "a.__class__.__mro__[1].__subclasses__()",
    "().__class__",
    "'{0.__class__}'.format(a)",
    "lambda: 0",
    "[x for x in a]",
    "open('/etc/passwd')",
    "eval('1')",
    "exec",
    "`__builtins__`",
    "getattr(a, 'b')",
    "f'{a}'",
    "a := 3",
    "a @ b",
    "a; drop table cards",
    "a -- comment",
    "a /* comment */",
    "a union select 1",
    "(select 1)",
    "a\x00",
    "a\n\x0b> 3",
    "\u0430 > 3",  # Cyrillic
    "a \uff1e 3",  # full width
    "\uff41 > 3",
    "a > \u0663",  # an Arabic digit
    "a\u00a0> 3",
    "a\u202e > 3",
    "\U0001d41a > 3",  # a mathematical letter, which Python reads as a
    "a > '\ud800'",
    "$a > 3",
    "%s",
    "a > 0x10",
    "a > 1_0",
    "a > 1j",
    "a > inf",
    "a > nan",
    "a ? b : c",
    "a && b",
    "a > 3 # why",
    "\\x61 > 3",
    "{a}",
    "a if a else a",
    "not",
    "and",
]


@pytest.mark.parametrize(("text", "spelling"), SPELLINGS.items())
def test_every_way_to_write_it_has_one_spelling(text, spelling):
    expression = parse(text)
    assert expression.text == str(expression) == spelling
    assert parse(spelling) == expression


@pytest.mark.parametrize(("text", "explicit"), SAME)
def test_what_binds_first(text, explicit):
    assert parse(text) == parse(explicit)


@pytest.mark.parametrize(("text", "other"), DIFFERENT)
def test_parentheses_that_matter_stay(text, other):
    assert parse(text) != parse(other)
    assert parse(parse(text).text) == parse(text)


def test_names_come_in_order_of_first_use():
    expression = parse(
        "smile > 0.4 and (|age leak| < b or yaw in (1, 2)), norm(b[0], smile) > `a b`"
    )
    assert expression.names == ("smile", "age leak", "b", "yaw", "a b")
    assert parse("1 < 2").names == ()


@pytest.mark.parametrize(("text", "place", "said"), MISTAKES)
def test_an_error_names_who_and_where_and_what_was_expected(text, place, said):
    with pytest.raises(InputError) as caught:
        parse(text, "--where")
    message = str(caught.value)
    assert message.startswith("--where: ")
    assert f" at {place}: " in message
    assert said in message
    assert "\n" not in message


def test_an_error_in_a_long_text_shows_its_place_only():
    text = " and ".join(["yaw > 20"] * 100).replace("20", "2 0", 1)
    with pytest.raises(InputError, match="at character 9: expected an operator") as caught:
        parse(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_errors_or_names_of_columns(text):
    with pytest.raises(InputError):
        check(parse(text), {"a": "number"})


def test_no_text_reaches_python(tmp_path):
    """Python itself reports every import, open, compile and exec to an audit hook."""
    script = tmp_path / "audit.py"
    script.write_text(AUDIT)
    texts = [text for text in HOSTILE if text.isprintable()] + list(SPELLINGS)
    done = subprocess.run(
        [sys.executable, script, *texts], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["watched", "open", str(len(texts))]


AUDIT = """
import sys
sys.path.insert(0, "")
import numpy as np
from schemas.errors import InputError
from schemas.expressions import parse
from schemas.expression_values import evaluate

seen, watching = [], False

def hook(event, args):
    if watching:
        seen.append(event)

def attempt(text):
    columns = {"a": np.arange(3.0), "__builtins__": np.arange(3.0), "a.__class__": np.ones(3)}
    try:
        evaluate(parse(text), columns)
    except InputError:
        pass

sys.addaudithook(hook)
for text in sys.argv[1:]:  # whatever NumPy, Arrow and we import on first use
    attempt(text)
watching = True
for text in sys.argv[1:]:
    attempt(text)
open(sys.argv[0]).close()  # the hook works
watching = False
print("watched", *sorted(set(seen)), len(sys.argv) - 1)
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a" + " " * MOST_CHARACTERS, "at most 10,000"),
        ("-" * (MOST_TOKENS + 1), "more than 4,000 words and signs"),
        ("(" * MOST_DEPTH + "a" + ")" * MOST_DEPTH, "nested more than 100 levels"),
        ("(" * 4000, "nested more than 100 levels"),
        ("-" * 4000, "nested more than 100 levels"),
        ("not " * 2000, "nested more than 100 levels"),
        ("2 ** " * 1500 + "2", "nested more than 100 levels"),
        ("|" * 4000, "nested more than 100 levels"),
        ("abs(" * 1900, "nested more than 100 levels"),
        # few brackets, but a deep tree
        ("(" * 40 + "a" + ")*1+1<1 and b or c" * 40, "nested more than 100 levels"),
    ],
)
def test_sizes_are_bounded(text, said):
    with pytest.raises(InputError, match=said):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(["a"] * 1900),
        " and ".join(["a > 1"] * 900),
        " < ".join(["a"] * 1900),
        "a" + "[0]" * 1200,
        f"a in ({', '.join(['1'] * 1900)})",
        f"min({', '.join(['a'] * 1900)})",
        "(" * 99 + "a" + ")" * 99,
        "'" + "''" * 4990 + "'",
    ],
)
def test_long_lists_are_not_deep(text):
    expression = parse(text)
    assert parse(expression.text) == expression


@pytest.mark.parametrize(
    "text",
    [
        "if(a > 0, " * 49 + "a" + ", 1)" * 49,
        "coalesce(" * 99 + "a" + ", 1)" * 99,
        "not " * 49 + "(" * 49 + "a is null" + ")" * 49,
        "max(" * 99 + "a" + ", 1)" * 99,
        "-" * 99 + "a",
    ],
)
def test_a_deep_expression_takes_no_longer_than_a_flat_one(text):
    found = evaluate(parse(text), {"a": np.array([1.0, np.nan])})  # not doubled at every level
    assert found.values.shape == (2,)


@pytest.mark.parametrize("text", [None, 3, b"a > 1"])
def test_only_texts_are_read(text):
    with pytest.raises(InputError, match="is no text"):
        parse(text)


def test_the_examples_of_the_readme_can_be_read():
    section = README.read_text().split("## Expressions")[1].split("```")[1]
    examples = [line.partition("  #")[0] for line in section.strip().splitlines()]
    assert len(examples) >= 10
    for text in examples:
        parse(text)


# any tree that the grammar can say, whether or not its kinds go together
NAMES = st.one_of(
    st.sampled_from(["yaw", "age leak", "leak", "not", "NULL", "min", "a.b", "if"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
)
NUMBERS = st.floats(0, allow_infinity=False, allow_nan=False).map(lambda x: Number(abs(x)))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(Text)
OPTIONS = st.one_of(NUMBERS, NUMBERS.map(Negate), TEXTS)
LEAVES = st.one_of(NUMBERS, TEXTS, st.booleans().map(Truth), NAMES.map(Name))


def several(items, least=1):
    return st.lists(items, min_size=least, max_size=3).map(tuple)


def chained(node, inner, operators):
    return st.builds(node, inner, several(st.tuples(st.sampled_from(operators), inner)))


def calls(inner):
    def call(name):
        function = FUNCTIONS[name]
        most = min(function.most, function.least + 2) if function.most == ANY else function.most
        arguments = st.lists(inner, min_size=function.least, max_size=most).map(tuple)
        return st.builds(Call, st.just(name), arguments)

    return st.sampled_from(sorted(FUNCTIONS)).flatmap(call)


def extend(inner):
    return st.one_of(
        st.builds(Negate, inner),
        st.builds(Not, inner),
        st.builds(IsNull, inner),
        st.builds(Power, inner, inner),
        chained(Arithmetic, inner, ["+", "-"]),
        chained(Arithmetic, inner, ["*", "/"]),
        chained(Compare, inner, ["<", "<=", ">", ">=", "=", "!="]),
        st.builds(In, inner, several(OPTIONS)),
        several(inner, 2).map(And),
        several(inner, 2).map(Or),
        calls(inner),
        st.builds(
            Index,
            inner.filter(lambda node: not isinstance(node, Index)),
            several(st.integers(0, 10**9 - 1)),
        ),
    )


@settings(max_examples=400)
@given(st.recursive(LEAVES, extend, max_leaves=12))
@example(Not(Not(IsNull(Name("a")))))
@example(Power(Negate(Name("a")), Negate(Power(Name("b"), Name("c")))))
def test_a_tree_is_read_back_from_its_text(root):
    expression = Expression(root)
    assert parse(expression.text) == expression


COLUMNS = {
    "yaw": np.array([1.0, np.nan, -3.0]),
    "age leak": np.arange(12.0).reshape(3, 2, 2),
    "leak": pa.array(["a", None, ""]),
    "not": pa.array([True, None, False]),
    "NULL": np.array([2, 0, 1]),
    "min": pa.array([[0.5], None, [2.0]], pa.list_(pa.float32(), 1)),
    "a.b": pa.array([None, "a", "b"]).dictionary_encode(),
    "if": np.array([True, False, True]),
}


@settings(max_examples=1000)
@given(st.recursive(st.sampled_from(sorted(COLUMNS)).map(Name) | LEAVES, extend, max_leaves=5))
def test_a_tree_is_refused_before_or_evaluated(root):
    kinds = {"yaw": "number", "NULL": "number", "leak": "text", "a.b": "text", "not": "truth"}
    kinds |= {"if": "truth", "age leak": ("number", (2, 2)), "min": ("number", (1,))}
    try:
        kind = check(Expression(root), kinds)
    except InputError:
        return
    found = evaluate(Expression(root), COLUMNS)
    said = {"f": "number", "b": "truth", "O": "text"}[found.values.dtype.kind]
    shape = found.values.shape[1:]
    assert ((said, shape) if shape else said) == kind
    assert found.known.shape == (3,)


PIECES = ["a", "b", "leak", "1", ".5", "1e400", "'t'", "`q`", "and", "or", "not", "in", "between"]
PIECES += ["is", "null", "true", "min", "if", "norm", *"()[]|,<>=!+-*/'\"`.; \x00\u0430\ud800"]


@settings(max_examples=400)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join)))
def test_garbage_is_read_or_refused_in_one_line(text):
    try:
        expression = parse(text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert parse(expression.text) == expression


@given(st.sampled_from(PIECES), st.sampled_from(PIECES), st.integers(1, 5000))
@settings(max_examples=200)
def test_long_garbage_is_refused_or_read(one, other, count):
    try:
        parse((one + other) * count)
    except InputError as error:
        assert len(str(error)) < 1000
