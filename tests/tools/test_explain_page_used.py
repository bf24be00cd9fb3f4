"""The page of `fcnxs explain --html` as a reader uses it, in headless Chromium."""

import json

import pytest
from browser import CHROMIUM, chromium

from fcnxs import symbols
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.tools.explanations.page import write_page
from fcnxs.tools.main import main

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
FIRST = "document.querySelector('#windows input')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of FCN-8s, as the command writes it."""
    file = tmp_path_factory.mktemp("page") / "fcn8s.html"
    assert main(["explain", "fcn8s", "--html", str(file)]) == 0
    return file


def key(browser, name):
    for kind in ("rawKeyDown", "keyUp"):
        code = {"ArrowDown": 40, "ArrowUp": 38, "Enter": 13, "Escape": 27, "Tab": 9, "End": 35}[name]
        browser.do("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)


def mouse(browser, kind, selector, **more):
    """Move the mouse to the middle of an element, or press it there."""
    browser.evaluate(f"{selector}.scrollIntoView({{block: 'center'}})")
    box = json.loads(browser.evaluate(f"JSON.stringify({selector}.getBoundingClientRect())"))
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    browser.do("Input.dispatchMouseEvent", type=kind, **where, **more)


def shown(browser):
    return " ".join(browser.evaluate("document.getElementById('panel').innerText").split())


def state(browser):
    return " ".join(browser.evaluate("document.getElementById('state').innerText").split())


def of(name):
    return f"buttons()[nodes.findIndex((node) => node.name === '{name}')]"


def type_in(browser, selector, text):
    browser.evaluate(f"{selector}.focus(), {selector}.select()")
    browser.do("Input.insertText", text=text)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_quiet_and_fits(width, colours, browser, page):
    browser.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
    browser.open(page.as_uri(), width)
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
    assert browser.messages == []
    assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
    wide = "[...buttons()].filter((e) => e.children[0].scrollWidth > e.children[0].clientWidth + 1).length"
    covered = "[...buttons()].filter((e) => e.children[2].getBoundingClientRect().right > innerWidth).length"
    assert browser.evaluate(wide) == 0 and browser.evaluate(covered) == 0
    assert (
        browser.evaluate("buttons().length")
        == 50
        == browser.evaluate("document.querySelectorAll('#net rect').length")
    )
    assert contrast(browser, "body") > 7 and contrast(browser, "#layers .what") > 4.5
    type_in(browser, FIRST, "4")
    assert "not whole" in state(browser) and contrast(browser, "#state .bad") > 4.5


def contrast(browser, selector):
    """Contrast of a text with its ground, as the WCAG has it."""
    read = f"""(() => {{ let e = document.querySelector({selector!r}), ink = getComputedStyle(e).color;
        while (getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
        return [ink, getComputedStyle(e).backgroundColor].join() }})()"""
    values = [
        int(each) / 255 for each in browser.evaluate(read).replace("rgb(", "").replace(")", "").split(",")
    ]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in values]
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear[:3], linear[3:])]
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_pointing_shows_and_pressing_chooses(browser, page):
    browser.open(page.as_uri(), 1400)
    assert shown(browser).startswith("conv1_1 kernel")
    mouse(browser, "mouseMoved", of("fc6"))
    assert shown(browser).startswith("fc6") and "102,764,544" in shown(browser)
    assert "4096 × 11 × 15 Without rounding (H + 6)/32, (W + 6)/32" in shown(browser)
    assert "(1, 3) Map to the image (32, -3) Receptive field 404 × 404 pixels" in shown(browser)
    mouse(browser, "mouseMoved", "document.querySelector('h1')")
    assert shown(browser).startswith("conv1_1")
    for kind in ("mousePressed", "mouseReleased"):
        mouse(browser, kind, of("score_pool3c"), button="left", clickCount=1)
    mouse(browser, "mouseMoved", "document.querySelector('h1')")
    assert shown(browser).startswith("score_pool3c") and "Offset 9 Map of score_pool3 (8, -99)" in shown(
        browser
    )
    assert "Map of score4 (8, -27)" in shown(browser)


def test_tapping_chooses(browser, page):
    browser.open(page.as_uri(), 400)
    browser.evaluate(f"{of('conv1_2')}.scrollIntoView({{block: 'start'}})")
    box = json.loads(browser.evaluate(f"JSON.stringify({of('conv1_2')}.getBoundingClientRect())"))
    touch = [{"x": box["x"] + 200, "y": box["y"] + 10}]
    browser.do("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
    browser.do("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert shown(browser).startswith("conv1_2")


def test_the_keyboard_is_enough(browser, page):
    browser.open(page.as_uri(), 1400)
    browser.evaluate("document.getElementById('width').focus()")
    key(browser, "Tab")  # past the button, which is disabled, to the chosen layer
    key(browser, "ArrowDown"), key(browser, "ArrowDown")
    assert shown(browser).startswith("conv1_2 kernel")
    key(browser, "Enter")
    browser.do("Input.insertText", text="5")
    assert browser.evaluate("document.activeElement.value") == "5" and "was 3" in shown(browser)
    key(browser, "Escape"), key(browser, "End")
    assert (
        shown(browser).startswith("softmax") and browser.evaluate("document.activeElement.tagName") == "BUTTON"
    )


def test_everything_follows_a_change_and_a_misaligned_one_is_refused(browser, page):
    browser.open(page.as_uri(), 1400)
    assert state(browser) == "Offsets of the crops: score_pool4c 5, score_pool3c 9, upscore 31."
    type_in(browser, "document.querySelectorAll('#windows input')[2]", "90")
    assert state(browser) == "Offsets of the crops: score_pool4c 5, score_pool3c 9, upscore 21."
    assert browser.evaluate(f"{of('fc6')}.children[2].textContent") == "4096 × 11 × 15"
    type_in(browser, "document.getElementById('width')", "320")  # floor((320 - 14)/32)
    assert browser.evaluate(f"{of('fc6')}.children[2].textContent") == "4096 × 11 × 9"
    type_in(browser, "document.getElementById('height')", "20")
    assert "An image of 20 rows does not fit: 'fc6' has a kernel of 7 rows and an input of 6." in state(browser)
    assert "–" in browser.evaluate(f"{of('fc6')}.innerText") and "64 × 198" in browser.evaluate(
        f"{of('conv1_1')}.innerText"
    )
    browser.evaluate("document.getElementById('undo').click()")
    assert (
        "upscore 31" in state(browser) and browser.evaluate("document.getElementById('height').value") == "375"
    )
    browser.evaluate(f"{of('score2')}.focus()")
    type_in(browser, FIRST, "5")
    why = "cannot crop 'score_pool4', map (16, -99), like 'score2', map (16, -27): the offset would be 9/2, not"
    assert why in state(browser) and "refused" in browser.evaluate(f"{of('score_pool4c')}.innerText")
    browser.evaluate(f"{of('score_pool4c')}.focus()")
    assert why in shown(browser) and "Offset none" in shown(browser) and "Map to the image –" in shown(browser)
    browser.evaluate(f"{of('score2')}.focus()")
    type_in(browser, FIRST, "0")  # no kernel, so that nothing changes
    assert why in state(browser)
    type_in(browser, FIRST, "4")
    assert state(browser) == "Offsets of the crops: score_pool4c 5, score_pool3c 9, upscore 31."


def test_names_are_texts_and_a_wrong_offset_is_told(browser, tmp_path):
    data = mx.sym.Variable("data")
    name = "</script><script>document.title = 'taken'</script><b>"
    x = mx.sym.Convolution(data, kernel=(3, 3), pad=(10, 10), num_filter=4, name=name)
    symbol, size = mx.sym.Crop(x, data, offset=(8, 8), name="cut"), (30, 40)
    rows, graph = symbols.describe(symbol, size), Graph.of(symbol)
    write_page(graph, "<b>&", size, rows, tmp_path / "page.html")
    browser.open((tmp_path / "page.html").as_uri(), 1400)
    assert browser.evaluate("document.title") == "<b>&, layer by layer" and shown(browser).startswith(name)
    assert state(browser) == "Offsets of the crops: cut 9, where the file has 8." and browser.messages == []


def test_long_names_and_windows_that_are_not_square_fit(browser, tmp_path):
    layers, long = [mx.sym.Variable("data")], "a_name_without_any_place_to_break_" * 5
    for number in range(20):
        settings = {"kernel": (3, 5), "pad": (1, 2), "num_filter": 3, "name": f"{long}{number}"}
        layers.append(mx.sym.Convolution(layers[-1], **settings))
    x = mx.sym.add_n(*layers, name="sum")  # with as many lanes
    rows, graph = symbols.describe(x, (30, 40)), Graph.of(x)
    write_page(graph, long, (30, 40), rows, tmp_path / "page.html")
    for width in (400, 1400):
        browser.open((tmp_path / "page.html").as_uri(), width)
        assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert "kernel, rows kernel, columns" in shown(browser)
        type_in(browser, "document.querySelectorAll('#windows input')[1]", "7")
        assert "3 × 30 × 38" in shown(browser) and "was 5" in shown(browser)


def test_only_pages_of_the_command_are_replaced(page, tmp_path, capsys):
    small = tmp_path / "net.json"
    x = mx.sym.Pooling(mx.sym.Variable("data"), kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
    x.save(str(small))
    other = tmp_path / "page.html"
    other.write_text("<html>mine</html>")
    for file, message in (
        (other, "is there already"),
        (tmp_path / "page.png", "give the name of an HTML file"),
    ):
        assert main(["explain", str(small), "--html", str(file)]) == 2
        assert message in capsys.readouterr().err
    assert other.read_text() == "<html>mine</html>"
    assert main(["explain", str(small), "--html", str(other), "--overwrite"]) == 0
    assert main(["explain", str(small), "--html", str(other)]) == 0
