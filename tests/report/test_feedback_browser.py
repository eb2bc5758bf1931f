"""The form in a real Chromium: a reader fills it in, saves the answers as a file, and they can be collected."""

import json
import time

import pytest

from tests.report.browser import Browser
from tests.report.feedback_run import METHODS, films
from tests.report.test_page_browser import CONTRASTS
from voxplain.report import feedback
from voxplain.report.feedback_cases import Asked
from voxplain.report.feedback_form import write
from voxplain.study.feedback import ITEMS, read_key
from voxplain.study.feedback_answers import collected

NOW = "[...document.querySelectorAll('form[data-step]')].find(one => one.checkVisibility())"
PRESS = f"{NOW}.querySelector('button').click()"

RATE = f"""
(rating => {{
  for (const item of {NOW}.querySelectorAll('.item')) item.querySelector(`input[value="${{rating}}"]`).click();
}})
"""

READ = f"""
((answer, confidence) => {{
  {NOW}.querySelector(`input[name=answer][value="${{answer}}"]`).click();
  {NOW}.querySelector('input[name=confidence]').value = confidence;
}})
"""

SHOWN = "[...document.querySelectorAll('figure')].filter(one => one.checkVisibility()).map(one => one.innerText)"

HIDE = (
    "Object.defineProperty(document, 'hidden', {configurable: true, value: %s}); "
    "document.dispatchEvent(new Event('visibilitychange'))"
)


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    """The form of one case with three maps, and its key."""
    folder = tmp_path_factory.mktemp("form")
    page, key = write(films(folder / "run", 1), folder / "form.html", Asked(causability=True))
    return page, read_key(key)


@pytest.fixture
def browser(tmp_path, form):
    """A fresh browser that shows the form, and saves into a folder of its own."""
    (tmp_path / "saved").mkdir()
    one = Browser(tmp_path / "home")
    one.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
    one.open(form[0].as_uri())
    yield one
    one.close()


def step(browser):
    return browser.run(f"(one => one.dataset.step + (one.dataset.letter || ''))({NOW})")


def begin(browser, code="R1"):
    browser.run(f"document.querySelector('#reader').value = {code!r}; {PRESS}")


def saved(folder):
    """The file that the page saved, once it is there whole."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = [*(folder / "saved").glob("*.json")]
        if found:
            return found[0]
        time.sleep(0.03)
    raise AssertionError("nothing was saved")


def test_a_reader_fills_it_in_and_the_answers_are_collected(browser, form, tmp_path):
    page, key = form
    assert step(browser) == "start"
    browser.run(PRESS)
    assert step(browser) == "start"  # without a code nobody begins
    begin(browser)
    assert step(browser) == "before"
    assert browser.run("document.querySelectorAll('figure:not([hidden]) svg').length") == 1
    assert "says" not in browser.run(f"{NOW}.innerText")
    browser.run(PRESS)
    assert step(browser) == "before"  # a reading must be whole
    browser.run(f"{READ}(0, 40); {PRESS}")
    ratings = dict(zip(METHODS, (5, 3, 1), strict=True))
    for letter, method in key.cases[0].maps.items():
        assert step(browser) == f"map{letter}"
        assert browser.run(f"({SHOWN})[1]").startswith(f"Map {letter} over")
        browser.run(f"{RATE}({ratings[method]}); {PRESS}")
    assert step(browser) == "after"
    browser.run(f"{READ}(1, 90); document.querySelector('section textarea').value = 'Map A <b>glows</b>.'; {PRESS}")
    browser.run(f"{RATE}(4); {PRESS}")
    browser.run(PRESS)
    file = saved(tmp_path)
    assert file.name == f"answers-R1-{key.form}.json"
    assert browser.complaints == []
    assert [address for address in browser.requested if address.startswith(("http", "file"))] == [page.as_uri()]
    told = collected([file], [key])
    assert told.missing == {"R1": []}
    found = feedback.write(told, tmp_path / "out").summary
    means = {one["method"]: one["value"] for one in found["items"][0]["means"]}
    assert means == ratings
    values = {one["measure"]: one["value"] for one in found["readings"]}
    assert (values["changed"], values["confidence_change"], values["right_after"]) == (1, 50, 1)
    assert found["causability"] == [{"reader": "R1", "score": 0.8}]
    assert found["comments"] == [{"reader": "R1", "case": "smith-1", "words": "Map A <b>glows</b>."}]
    assert "Map A &lt;b&gt;glows&lt;/b&gt;." in (tmp_path / "out" / "feedback.html").read_text()


def test_what_is_left_out_is_asked_once_more(browser):
    begin(browser)
    browser.run(f"{READ}(1, 50); {PRESS}")
    first = step(browser)
    browser.run(f"{NOW}.querySelector('.item input').click(); {PRESS}")
    assert step(browser) == first
    assert browser.run(f"{NOW}.querySelector('[role=alert]').innerText").startswith(f"{len(ITEMS) - 1} not answered")
    assert browser.run("document.querySelectorAll('.lacking').length") == len(ITEMS) - 1
    browser.run(PRESS)
    assert step(browser) != first


def test_half_the_answers_can_be_saved_and_leaving_is_warned_of(browser, form, tmp_path):
    warned = "!dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    assert browser.run(warned) is False
    begin(browser, "R 2/x")
    browser.run(f"{READ}(1, 50); {PRESS}")
    assert browser.run(warned) is True
    browser.run("document.querySelector('#partial').click()")
    file = saved(tmp_path)
    assert file.name == f"answers-R_2_x-{form[1].form}.json"
    told = json.loads(file.read_text())
    assert told["reader"] == "R 2/x"
    assert told["cases"][0]["before"]["confidence"] == 50
    assert told["cases"][0]["maps"] == {}
    assert browser.run(warned) is False


def test_only_time_in_sight_of_this_step_counts(browser, tmp_path):
    wait = "new Promise(done => setTimeout(done, 1000))"
    browser.run(wait)
    browser.run("window.began = performance.now(); 0")
    begin(browser)
    browser.run(HIDE % "true")
    browser.run(wait)
    browser.run(HIDE % "false")
    browser.run(f"{READ}(1, 50); window.ended = performance.now(); {PRESS}")
    browser.run("document.querySelector('#partial').click()")
    reading = json.loads(saved(tmp_path).read_text())["cases"][0]["before"]
    # A timer may be early by a hundredth of a second.
    assert 0 <= reading["seconds"] <= browser.run("(ended - began) / 1000") - 0.99


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_every_step_fits_and_can_be_read(browser, width):
    browser.resize(width)
    begin(browser)
    for press in ("", f"{READ}(1, 50); {PRESS}"):
        browser.run(press or "0")
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run(CONTRASTS) == []
        names = f"[...{NOW}.querySelectorAll('input, textarea')].every(one => one.labels.length > 0)"
        assert browser.run(names)


def test_the_keyboard_is_enough(browser):
    browser.run("document.querySelector('#reader').focus()")
    for letter in "R9":
        browser.press(letter)
    enter = {"key": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", browser.session, type=kind, **enter)
    assert step(browser) == "before"
    assert browser.run("document.activeElement.tagName") == "H3"
