"""Reads conditions and formulas over columns: `--where`, filters over cards, and labels.

    yaw > 20                              a comparison: < <= > >= = (or ==) !=
    0.3 < smile <= 0.9                    a chain of them, as on paper
    yaw between -10 and 10                the same as -10 <= yaw <= 10
    space in ('w', 'w+')                  one of several numbers or texts; also `not in`
    truth is not null                     known at all; also `is null`
    smile > 0.4 and not (yaw > 30 or yaw < -30)
    smile >= 0.4, |age leak| <= 0.02      a comma is an `and` that binds last; |x| is abs(x)
    mouth_width / face_width > 0.45       + - * / ** and unary -
    norm(dlib_landmarks[36] - dlib_landmarks[45])
    if(dlib_status = 'ok', yaw, 0)

Values
    Numbers (3, 0.5, 1e-3), texts ('ok' or "ok"; the quote itself is doubled: 'it''s'), true, false.
    Names are letters, digits, _ and dots, and begin with a letter or _; any other name stands in
    `backquotes`. A name and the word leak are one name, "age leak". Keywords may be in capitals.
    A column with a shape takes indices, from 0: landmarks[36] is a point, landmarks[36, 0] its x.

What binds first
    indices; **; unary -; * /; + -; comparisons, in, between, is; not; and; or; the comma.
    Hence -x ** 2 is -(x ** 2), 2 ** 3 ** 2 is 2 ** 9, and not a = b is not (a = b).

Functions
    abs sqrt exp log floor ceil        of one number; log is the natural one
    round                              to a whole number, halves to the even one
    sin cos tan                        of an angle in degrees
    atan2(y, x)                        the angle in degrees, -180 to 180
    min max mean norm                  of two or more arguments, or of one with a shape, over its
                                       last axis; norm is the root of the sum of squares
    if(condition, a, b)                a where the condition is true, b where it is false
    coalesce(a, b, ...)                the first that is known
    All but if and coalesce work entry by entry on columns with a shape.

What is unknown
    A null, NaN or infinity in a column, and what comes of it; also x / 0, sqrt(-1), 0 ** -1 and
    whatever leaves the range of a float64, in which all numbers are reckoned. A comparison with
    something unknown is unknown; `false and unknown` is false, `true or unknown` is true, and
    `not unknown` is unknown. A filter keeps the rows whose condition is true: neither `e` nor
    `not (e)` keeps a row that leaves e unknown. A value with a shape is known where all of its
    entries are. A float32 column is compared as it is stored: 0.1 is 0.10000000149 there.

Nothing else can be said: an expression reaches the columns that it is given and these functions,
neither Python nor files. Sizes are bounded: 10,000 characters, 4,000 words and signs, 100 levels.
"""

from __future__ import annotations

from schemas.expression_parser import Parser
from schemas.expression_tree import Expression

__all__ = ["Expression", "parse"]


def parse(text: str, who: str = "expression") -> Expression:
    """Read an expression.

    Args:
        text: as the grammar above has it.
        who: what the expression is for, the first word of errors.

    Raises:
        InputError: names the place, and what was expected there.
    """
    return Expression(Parser(text, who).whole())
