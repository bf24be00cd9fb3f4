from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnxs import FCNXSError
from fcnxs.symbols import compose_fp, compose_fp_list, filter_map, inv_fp

kernels = st.tuples(st.integers(1, 64), st.integers(1, 32), st.integers(0, 100))
layers = st.builds(lambda window: filter_map(*window), kernels)
maps = st.one_of(layers, st.builds(inv_fp, layers))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, (1, 0)),
        ({"kernel": 3, "pad": 1}, (1, 0)),
        ({"kernel": 3, "pad": 100}, (1, -99)),
        ({"kernel": 2, "stride": 2}, (2, 0)),
        ({"kernel": 7}, (1, 3)),
        ({"kernel": 64, "stride": 32}, (32, 16)),
        ({"kernel": 2, "stride": 1}, (1, Fraction(1, 2))),
    ],
)
def test_filter_map_of_known_windows(window, expected):
    assert filter_map(**window) == expected


@given(maps)
def test_a_map_and_its_inverse_cancel(fp):
    assert compose_fp(fp, inv_fp(fp)) == (1, 0)
    assert compose_fp(inv_fp(fp), fp) == (1, 0)
    assert inv_fp(inv_fp(fp)) == fp


@given(maps, maps, maps)
def test_composition_is_associative_and_inverts_in_reverse_order(a, b, c):
    assert compose_fp(compose_fp(a, b), c) == compose_fp(a, compose_fp(b, c)) == compose_fp_list([a, b, c])
    assert inv_fp(compose_fp(a, b)) == compose_fp(inv_fp(b), inv_fp(a))


@given(kernels, kernels)
def test_composition_is_that_of_the_windows(first, second):
    """Two windows after each other are one window; its centre is where the composed map says."""
    (k1, s1, p1), (k2, s2, p2) = first, second
    one = filter_map(k1 + s1 * (k2 - 1), s1 * s2, p1 + s1 * p2)
    assert compose_fp(filter_map(*first), filter_map(*second)) == one


@given(st.lists(maps, max_size=30))
def test_long_compositions_are_exact(fps):
    """Floats would drift; undoing a long chain step by step gives exactly the identity."""
    undo = [inv_fp(fp) for fp in reversed(fps)]
    assert compose_fp_list(fps + undo) == (1, 0)
    assert all(isinstance(value, Fraction) for value in compose_fp_list(fps))


def test_floats_as_the_original_uses_them_are_taken_exactly():
    assert compose_fp((1.0, 0.0), (0.5, -0.25)) == (Fraction(1, 2), Fraction(-1, 4))


def test_a_map_of_stride_0_has_no_inverse():
    with pytest.raises(FCNXSError, match=r"\(0, 3\)"):
        inv_fp((0, 3))
