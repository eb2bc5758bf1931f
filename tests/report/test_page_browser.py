"""The page in a real Chromium: nothing planted runs, nothing scrolls sideways, everything can be read and reached."""

import re

import numpy as np
import pytest

from tests.report.browser import Browser
from tests.report.made import RunMaker, attribution, blob, failed, picture, volume
from tests.report.seen import colourful
from voxplain.report.page import write
from voxplain.types import Quantity

EVIL = "<script>document.title='hurt'</script><img src=x onerror=\"document.title='hurt'\"></script>'\">"

METHODS = (
    "grad_cam", "layer_cam", "score_cam", "rise(masks=4000, cells=7)", "gradient", "smoothgrad(samples=25)", "lrp",
    "guided_backprop", "deep_lift", "integrated_gradients(steps=16, baseline='blur')", "occlusion", EVIL,
)  # fmt: skip

CONTRASTS = """
(() => {
  const numbers = words => (words.match(/[\\d.]+/g) || []).map(Number);
  const linear = c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(c => linear(c / 255))
    .reduce((sum, c, n) => sum + c * [.2126, .7152, .0722][n], 0);
  const ground = one => { for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found; }
    return [255, 255, 255]; };
  const poor = [];
  for (const one of document.querySelectorAll('body *')) {
    if (one.closest('svg, .volumes, script, style, .hidden') || !one.checkVisibility()) continue;
    if (![...one.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(numbers(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) poor.push(`${one.tagName}.${one.className} ${ratio.toFixed(2)} ${one.textContent.slice(0, 30)}`);
  }
  return poor;
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a run whose every name holds a script, with twelve methods on a picture and one on a volume."""
    run = RunMaker(tmp_path_factory.mktemp("page") / "run")
    image, scan = picture(identifier=EVIL, unit=EVIL), volume(identifier="scan")
    run.case(image, label=EVIL, notices=[EVIL])
    run.case(scan, "c2")
    for number, method in enumerate(METHODS):
        lump = blob(image.grid.shape, (5 + 2 * number, 10, 0))
        found = attribution(
            image,
            lump,
            Quantity.RELEVANCE,
            method=method,
            target_words=EVIL,
            layer=EVIL,
            notes=(EVIL,),
            certificate=failed(EVIL),
        )
        run.map(found, image, f"map{number}", share_in_mask=0.4, mask_share=0.1)
    run.map(attribution(scan), scan, "scan")
    (run.folder / "metrics.jsonl").write_text('{"metric": "</script><script>document.title=\'hurt\'</script>"}\n')
    (run.folder / "plan.toml").write_text(EVIL)
    return write(run.folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory, page):
    """A browser that shows the page."""
    one = Browser(tmp_path_factory.mktemp("browser"))
    one.open(page.as_uri())
    yield one
    one.close()


def test_a_planted_script_does_not_run(browser, page):
    assert browser.run("document.title") == "run - Voxplain report"
    assert browser.run("document.body.innerText").count("<script>") > 10
    assert browser.complaints == []
    assert [address for address in browser.requested if address.startswith(("http", "file"))] == [page.as_uri()]


def test_a_script_that_got_in_anyway_is_stopped_by_the_policy(tmp_path, page):
    html = page.read_text().replace("<main", "<script>document.title = 'hurt'</script><main", 1)
    (tmp_path / "hurt.html").write_text(html)
    one = Browser(tmp_path / "home")
    one.open((tmp_path / "hurt.html").as_uri())
    title = one.run("document.title")
    one.close()
    assert title == "run - Voxplain report"
    assert any("Content Security Policy" in complaint for complaint in one.complaints)


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_scrolls_sideways(browser, width):
    browser.resize(width)
    wide = "[...document.querySelectorAll('header, .warnings, table, .words, .tiles, .map, .points')]"
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(f"Math.max(...{wide}.map(one => one.getBoundingClientRect().right))") <= width
    browser.resize(1280)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read(browser, scheme):
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.send("Emulation.setEmulatedMedia", browser.session, features=feature)
    assert browser.run(CONTRASTS) == []  # WCAG 2.1 AA asks for 4.5


def test_the_first_stop_of_the_keyboard_leads_to_the_cases(browser):
    browser.run("window.focus(), document.activeElement.blur(), scrollTo(0, 0)")
    browser.send("Input.dispatchKeyEvent", browser.session, type="rawKeyDown", key="Tab", windowsVirtualKeyCode=9)
    assert browser.run("[document.activeElement.className, document.activeElement.hash]") == ["skip", "#cases"]
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_pictures_show_image_and_map(browser):
    browser.run("document.querySelector('#case-1-map-1').scrollIntoView()")
    seen = browser.picture("#case-1-map-1 ~ figure svg")
    wide = seen.shape[1]
    left, right = seen[30:-10, : int(0.35 * wide)], seen[30:-10, int(0.42 * wide) : int(0.75 * wide)]
    assert left.max() > 180
    assert colourful(left).max() < 20
    assert colourful(right).max() > 100
    # The lump of the first method lies at column 5 of 40, row 10 of 30.
    _, columns = np.nonzero(colourful(right) > 0.9 * colourful(right).max())
    assert columns.mean() / right.shape[1] == pytest.approx(0.15, abs=0.06)


def test_on_paper_there_are_no_controls_and_the_checks_lie_open(browser):
    browser.send("Emulation.setEmulatedMedia", browser.session, media="print")
    hidden = browser.run("[...document.querySelectorAll('.volumes, .skip, .back, [data-view]')].every("
                         "one => getComputedStyle(one).display === 'none')")  # fmt: skip
    shown = browser.run(
        "document.querySelector('#case-1-map-1 ~ details table').checkVisibility({contentVisibilityAuto: true})"
    )
    browser.send("Emulation.setEmulatedMedia", browser.session, media="")
    assert hidden
    assert shown


def test_a_pdf_has_the_case_in_words(browser, tmp_path):
    pdf = browser.send("Page.printToPDF", browser.session)["data"]
    assert re.match("JVBERi0", pdf)  # %PDF- in base64
    assert len(pdf) > 20_000
