import doctest
import sys

import pytest

import fcnxs.gluon  # noqa: F401


@pytest.mark.parametrize("module", ["", ".block", ".training", ".transforms", ".zoo"])
def test_the_examples_of_the_docstrings_run(module):
    result = doctest.testmod(sys.modules[f"fcnxs.gluon{module}"])
    assert result.attempted and not result.failed
