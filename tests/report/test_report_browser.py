"""The report in headless Chromium: no request, no complaint, nothing wider than the window."""

import numpy as np
import pytest
from browser import CHROMIUM, chromium
from pages import made_up

from fcnxs.report.evaluation import Example
from fcnxs.report.page import page

OVERFLOW = "document.documentElement.scrollWidth > innerWidth"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A page with much in it: 21 classes of long names, an image wide and one high, long facts."""
    folder = tmp_path_factory.mktemp("a_name_without_any_place_to_break_" * 5)
    matrix = np.random.default_rng(0).integers(0, 10**9, (21, 21))
    wide, high = (np.zeros((*size, 3), np.uint8) for size in ((40, 900), (900, 40)))
    examples = [Example(0, "x" * 200, each, each[..., 0], {"fcn8s": each[..., 0]}) for each in (wide, high)]
    run, evaluation = made_up([f"class_with_a_long_name_{i}" for i in range(21)], matrix, examples, folder)
    run.plan["options"] = {"data": "/a/very/long/path" * 30}
    return page(run, evaluation, ["https://example.com/" + "y" * 300])


@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_is_quiet_and_fits(browser, html, width, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(html)
    browser.open(file.as_uri(), width)
    assert browser.evaluate("innerWidth") == width
    assert [url for url in browser.requests if not url.startswith("data:")] == [file.as_uri()]
    assert browser.messages == []
    assert not browser.evaluate(OVERFLOW)
    broken = "[...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert browser.evaluate("document.images.length") == 6 and browser.evaluate(broken) == 0
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
    )
    assert browser.evaluate(smallest) >= 9  # pixels


def test_the_browser_would_tell(browser, html, tmp_path):
    """An image from outside and a script, which the page's policy stops, and what is too wide are seen."""
    file = tmp_path / "page.html"
    more = '<img src="http://127.0.0.1:9/x.png"><div style="width: 2000px">x</div><script>1</script></body>'
    file.write_text(html.replace("</body>", more))
    browser.open(file.as_uri(), 1400)
    assert len(browser.messages) >= 2 and all(
        "Content Security Policy" in str(each) for each in browser.messages
    )
    assert browser.evaluate(OVERFLOW)
