"""Sizes of layers as exact formulas in the size H of the image, without MXNet.

A size is `scale * base + shift`. The base is H, or a quotient that is rounded down or up. Formulas are kept
simple: exact divisions are carried out, nested quotients with one rounding become one quotient, and a number
added to a quotient is added inside it.

    >>> pool1 = (Size() + 198).divided(2)
    >>> print((pool1 + 2).divided(2))
    floor((H + 202)/4)
    >>> print(pool1 * 2 + 3, pool1.value(375))
    2 floor((H + 198)/2) + 3 286
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd


@dataclass(frozen=True)
class Quotient:
    """A size divided by a whole number, rounded down, or `up`."""

    size: Size
    divisor: int
    up: bool

    def value(self, height: int) -> int:
        """The size for an image of size H = `height`."""
        return _divided(self.size.value(height), self.divisor, self.up)

    def text(self, variable: str) -> str:
        """`floor((H + 198)/8)`, with `variable` as the name of H."""
        inner = self.size.text(variable)
        inner = f"({inner})" if " " in inner and not (self.size.scale == 1 and self.size.shift == 0) else inner
        return f"{'ceil' if self.up else 'floor'}({inner}/{self.divisor})"


@dataclass(frozen=True)
class Size:
    """`scale * base + shift`; the base None is H itself. `Size()` is H, `Size.constant(7)` always 7."""

    scale: int = 1
    base: Quotient | None = None
    shift: int = 0

    @classmethod
    def constant(cls, number: int) -> Size:
        """A size that does not depend on H."""
        return cls(0, None, number)

    def __add__(self, number: int) -> Size:
        if self.scale == 1 and self.base is not None:
            inner = self.base.size + (self.shift + number) * self.base.divisor
            return Size(1, Quotient(inner, self.base.divisor, self.base.up))
        return Size(self.scale, self.base, self.shift + number)

    def __sub__(self, number: int) -> Size:
        return self + -number

    def __mul__(self, number: int) -> Size:
        if self.scale * number == 0:
            return Size.constant(self.shift * number)
        return Size(self.scale * number, self.base, self.shift * number)

    def divided(self, divisor: int, up: bool = False) -> Size:
        """Quotient by a divisor of at least 1, rounded down, or `up`."""
        # With a whole base, floor((g a base + b) / (g d)) = floor((a base + floor(b / g)) / d); ceil alike.
        common = gcd(self.scale, divisor)
        divisor, shift = divisor // common, _divided(self.shift, common, up)
        size = Size(self.scale // common, self.base, 0) + shift
        if divisor == 1:
            return size
        inner = size.base
        # floor(floor(a / m) / d) = floor(a / (m d))
        if size.scale == 1 and inner is not None and inner.up == up:
            return inner.size.divided(inner.divisor * divisor, up)
        return Size(1, Quotient(size, divisor, up))

    @property
    def period(self) -> int:
        """Growth of H after which the size has always grown by the same number."""
        return 1 if self.base is None else self.base.divisor * self.base.size.period

    def value(self, height: int) -> int:
        """The size for an image of size H = `height`."""
        return self.scale * (height if self.base is None else self.base.value(height)) + self.shift

    def text(self, variable: str = "H") -> str:
        """`32 floor((H + 6)/32) + 63`, with `variable` as the name of H."""
        if self.scale == 0:
            return str(self.shift)
        base = variable if self.base is None else self.base.text(variable)
        base = base if self.scale == 1 else f"{self.scale} {base}"
        sign = "-" if self.shift < 0 else "+"
        return f"{base} {sign} {abs(self.shift)}" if self.shift else base

    def __str__(self) -> str:
        return self.text()


def _divided(number: int, divisor: int, up: bool) -> int:
    return -(-number // divisor) if up else number // divisor
