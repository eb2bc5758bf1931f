"""The viewer in a real Chromium: what is drawn, where, what is said about it, and that every control does something."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.report.browser import Browser
from tests.report.made import LPS, RunMaker, attribution, failed, picture, volume
from tests.report.seen import spot
from voxplain.data.image import Image
from voxplain.report.contents import read_run
from voxplain.report.viewer_server import ViewerServer
from voxplain.report.volumes import volumes_block
from voxplain.types import Quantity

FOR, AGAINST = (4, 7, 5), (13, 16, 5)
"""Voxels (i, j, k) of the LPS volume: the planted evidence for and against."""

SEGMENTED = {"kind": "segmentation", "class_names": ["background", "oedema"], "scores": [1, 1, 1], "words": "oedema"}
"""What the planted volume's model says; its third class has no name."""

EVIL = "<script>document.title='hurt'</script><img src=x onerror=\"document.title='hurt'\">"

VALUES = (
    "Object.fromEntries([...document.querySelectorAll('[data-said]')].map(one => [one.dataset.said, one.textContent]))"
)


def planted() -> Image:
    """A dark volume whose only bright voxel is where the evidence for lies; its second channel is the other way."""
    grid = volume(LPS).grid
    dark = np.full(grid.shape, 10, np.float32)
    dark[FOR] = 200
    return Image.of(np.stack([dark, 210 - dark]), grid, channels=("T1", "FLAIR"), identifier="planted")


def make(run: RunMaker) -> RunMaker:
    """A run folder with all that the viewer must cope with."""
    image = planted()
    mask = np.zeros(image.grid.shape, np.float32)
    mask[2:8, 4:11, 3:9] = 1
    predicted = np.zeros(image.grid.shape, np.float32)
    predicted[3:7, 5:10, 3:9], predicted[7:9, 5:10, 3:9] = 1, 2
    run.case(image, mask=Image.of(mask, image.grid), labels=Image.of(predicted, image.grid), prediction=SEGMENTED)
    signed = spot(image, FOR, 2) + spot(image, AGAINST, -1.5)
    signed[10, 12, 8] = 0.2
    run.map(attribution(image, signed), image)
    saliency = attribution(image, np.abs(signed), Quantity.SALIENCY, certificate=failed(), method="rise")
    run.map(saliency, image, "rise")
    for layer in ("conv1", "conv2"):
        found = attribution(image, signed * len(layer), Quantity.SALIENCY, method=f"cam(layer={layer!r})", layer=layer)
        run.map(found, image, layer, layer=layer)
    run.map(attribution(image, np.ones(image.grid.shape), method="flat"), image, "flat")
    run.row(
        case="planted", model="net", method="lrp", target="class_score(1)", status="failed", error="no rule", map=None
    )
    flat = picture(identifier=EVIL)
    run.case(flat, "c2")
    run.map(attribution(flat, spot(flat, (30, 6, 0), 3), method=EVIL), flat, "c2")
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(RunMaker(tmp_path_factory.mktemp("viewer") / "run")).folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    opened.send("Page.addScriptToEvaluateOnNewDocument", opened.session, source=KEEP)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(folder) -> Iterator[ViewerServer]:
    with ViewerServer(folder) as serving:
        thread = Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


KEEP = """{
    const own = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, options) {
        return own.call(this, kind, kind === "webgl2" ? {...options, preserveDrawingBuffer: true} : options);
    };
}"""
"""Drawings can be read back at any time, so that a test sees just what was drawn."""

DRAWN = """(() => {
    const [drawing, lines] = document.querySelectorAll(".viewer canvas");
    const whole = Object.assign(document.createElement("canvas"), {width: drawing.width, height: drawing.height});
    const both = whole.getContext("2d", {willReadFrequently: true});
    both.drawImage(drawing, 0, 0);
    both.drawImage(lines, 0, 0);
    return whole.toDataURL("image/png");
})()"""


class Viewer:
    """The viewer's page as a person uses it."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def ready(self) -> None:
        self.browser.until("document.querySelector('[data-viewer]').dataset.state === 'ready'")

    def choose(self, control: str, value: str) -> None:
        """Change a control as a hand would."""
        field = f"document.querySelector('[data-control={control}]')"
        self.browser.run(f"(({{}}) => {{ const one = {field}; one.value = {value!r}; "
                         "one.dispatchEvent(new Event('input', {bubbles: true})); })({})")  # fmt: skip
        self.ready()

    def tick(self, control: str) -> None:
        self.browser.run(f"document.querySelector('[data-control={control}]').click()")
        self.ready()

    def options(self, control: str) -> list[str]:
        return self.browser.run(f"[...document.querySelector('[data-control={control}]').options].map(one => one.text)")

    def value(self, control: str) -> str:
        return self.browser.run(f"document.querySelector('[data-control={control}]').value")

    @property
    def said(self) -> dict[str, str]:
        return self.browser.run(VALUES)

    def press(self, *keys: str) -> None:
        self.browser.run("document.querySelector('.viewer canvas').focus()")
        for key in keys:
            self.browser.press(key)
        self.ready()

    def drawn(self) -> np.ndarray:
        """What is drawn now (rows, columns, 3); a screenshot may be some frames late on a busy machine."""
        data = self.browser.run(DRAWN).partition(",")[2]
        return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)

    def without_map(self) -> np.ndarray:
        """The picture with the map switched off for a moment."""
        self.tick("map")
        bare = self.drawn()
        self.tick("map")
        return bare

    def goes_to(self, voxel: tuple[int, int, int]) -> None:
        """Put the crosshair on a voxel."""
        self.browser.run(
            f"voxplain.viewer.scene.goTo(voxplain.carried(voxplain.viewer.shown.image.facts.to_world, {list(voxel)}))"
        )


AFRESH = """(async () => {
    const { viewer } = voxplain;
    viewer.control("case").value = viewer.control("channel").value = 0;
    await viewer.choose(viewer.index.cases[0].maps[0]);
    await viewer.reset();
})()"""


@pytest.fixture
def viewer(browser, server) -> Iterator[Viewer]:
    """The viewer as it begins; no test may leave a complaint in the console or ask for anything from elsewhere."""
    browser.complaints.clear()
    browser.requested.clear()
    browser.resize(1000, 480)  # few pixels are drawn sooner
    page = Viewer(browser)
    if browser.run("location.href") != server.address:
        browser.open(server.address)
        page.ready()
    browser.run(AFRESH)
    yield page
    assert browser.complaints == []
    assert all(one.startswith((server.address, "data:", "blob:")) for one in browser.requested)


def centre(changed: np.ndarray) -> tuple[float, float]:
    """Where pixels differ: shares of width and height from the top left."""
    rows, columns = np.nonzero(changed)
    assert len(rows)
    return columns.mean() / changed.shape[1], rows.mean() / changed.shape[0]


def differ(one: np.ndarray, other: np.ndarray, by: int = 25) -> np.ndarray:
    return np.abs(one - other).max(axis=-1) > by


def test_the_picture_changes_when_the_map_is_switched_on(viewer):
    shown = viewer.drawn()
    bare = viewer.without_map()
    assert differ(shown, bare).sum() > 100
    assert not differ(shown, viewer.drawn()).any()


def test_the_screen_changes_when_the_map_is_switched_on(viewer):
    viewer.tick("map")
    bare = viewer.browser.picture(".viewer-frame")
    viewer.tick("map")
    for _ in range(40):  # a busy machine shows what was drawn some frames later
        if differ(viewer.browser.picture(".viewer-frame"), bare).sum() > 50:
            return
    pytest.fail("the screen is the same with the map and without")


def test_the_picture_changes_when_the_mask_is_switched_off(viewer):
    shown = viewer.drawn()
    viewer.tick("mask")
    assert differ(shown, viewer.drawn()).sum() > 300


@pytest.mark.parametrize(
    ("plane", "left", "up"), [("axial", True, True), ("coronal", True, False), ("sagittal", True, False)]
)
def test_the_map_lies_exactly_on_the_image_and_the_sides_are_right(viewer, plane, left, up):
    # The bright voxel (4, 7, 5) of an LPS volume of (20, 24, 16) lies to the patient's right, in front and below.
    viewer.choose("planes", plane)
    viewer.tick("mask")
    cut = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    corner = [FOR[axis] if axis == cut else 18 if axis == 0 else 14 for axis in range(3)]
    viewer.goes_to(tuple(corner))  # the crosshair hides nothing there, and letters are as bright as the voxel
    viewer.browser.run(
        "{const {view} = voxplain.viewer.scene; view.opts.isOrientationTextVisible = false; view.drawScene()}"
    )
    bare = viewer.without_map()
    shown = viewer.drawn()
    coloured = centre(differ(shown, bare) & (shown[..., 0] > shown[..., 2] + 25))  # warm: the evidence for
    bright = centre(bare.min(axis=-1) > 200)
    assert coloured == pytest.approx(bright, abs=0.002)  # a pixel; a voxel is more than ten
    assert (coloured[0] < 0.5) == left
    assert (coloured[1] < 0.5) == up


def test_the_rim_runs_along_the_faces_of_the_mask(viewer):
    viewer.choose("planes", "axial")
    viewer.tick("map")
    viewer.goes_to((19, 1, FOR[2]))
    with_rim = viewer.drawn()
    viewer.tick("mask")
    without = viewer.drawn()
    bright = np.argwhere((without.min(axis=-1) > 200) & (np.indices(without.shape[:2])[0] > 30))  # below the letter
    bright = bright[np.abs(bright - np.median(bright, axis=0)).max(axis=1) < 20]
    low, high = bright.min(axis=0), bright.max(axis=0) + 1
    rim = np.argwhere(differ(with_rim, without))
    side = high - low
    # The mask holds voxels 2 to 7 and 4 to 10; the bright one, (4, 7), is their neighbour by whole voxels.
    assert rim.min(axis=0) == pytest.approx(low - side * [3, 2], abs=3)  # a line is three pixels wide
    assert rim.max(axis=0) + 1 == pytest.approx(high + side * [3, 3], abs=3)


TILES = """voxplain.viewer.scene.view.screenSlices.filter(one => one.axCorSag < 3)
    .map(one => one.leftTopWidthHeight.map(Math.round))"""


@pytest.mark.parametrize("size", [(1000, 700), (1007, 480)])
def test_every_plane_has_the_rim_at_every_size(viewer, size):
    # At such sizes NiiVue takes the corner of a plane for outside of it: of the axial and coronal, of the sagittal one.
    viewer.browser.resize(*size)
    viewer.browser.until("(canvas => canvas.width === canvas.clientWidth && canvas.height === canvas.clientHeight)"
                         "(document.querySelector('.viewer canvas'))")  # fmt: skip
    viewer.tick("prediction")
    shown = viewer.drawn()
    viewer.tick("mask")
    rim = differ(shown, viewer.drawn())
    tiles = viewer.browser.run(TILES)
    assert len(tiles) == 3
    for left, top, width, height in tiles:
        columns = np.flatnonzero(rim[top : top + height, left : left + width].any(axis=0))
        assert 0.05 * width < columns[0] < columns[-1] < 0.75 * width  # the mask ends well inside of the volume


def test_the_rim_of_the_prediction_is_dashed_and_of_its_own_colour(viewer):
    viewer.choose("planes", "axial")
    viewer.tick("map")
    viewer.tick("mask")
    viewer.goes_to((19, 1, FOR[2]))
    with_rim = viewer.drawn()
    viewer.tick("prediction")
    without = viewer.drawn()
    bright = np.argwhere((without.min(axis=-1) > 200) & (np.indices(without.shape[:2])[0] > 30))  # below the letter
    bright = bright[np.abs(bright - np.median(bright, axis=0)).max(axis=1) < 20]
    low, high = bright.min(axis=0), bright.max(axis=0) + 1
    rim = np.argwhere(differ(with_rim, without))
    side = high - low
    # The classes hold voxels 3 to 8 and 5 to 9 together; the bright one is (4, 7).
    assert rim.min(axis=0) == pytest.approx(low - side * [2, 1], abs=3)  # a line is three pixels wide
    assert rim.max(axis=0) + 1 == pytest.approx(high + side * [2, 4], abs=3)
    cyan = (with_rim[..., 2] > with_rim[..., 0] + 60) & differ(with_rim, without)
    columns = np.flatnonzero(cyan[:, low[1] - side[1] - 3 : low[1] - side[1] + 3].any(axis=1))
    gaps = np.diff(columns)
    assert gaps.max() <= 8  # a stripe every eight pixels
    assert (gaps > 2).sum() >= (columns[-1] - columns[0]) // 8 - 1


def test_the_prediction_says_its_class_under_the_crosshair(viewer):
    assert (viewer.said["mask"], viewer.said["prediction"]) == ("inside", "oedema")
    viewer.goes_to((8, 6, 5))
    assert (viewer.said["mask"], viewer.said["prediction"]) == ("outside", "class 2")
    viewer.goes_to(AGAINST)
    assert viewer.said["prediction"] == "background"


def test_a_case_without_a_prediction_offers_no_rim_of_it(viewer):
    shown = "document.querySelector('[data-control=prediction]').checkVisibility()"
    assert viewer.browser.run(shown)
    viewer.choose("case", "1")
    assert not viewer.browser.run(shown)
    assert not viewer.browser.run("document.querySelector('[data-said=prediction]').checkVisibility()")


def test_neurological_convention_swaps_the_patients_sides(viewer):
    viewer.choose("planes", "axial")
    radiological = centre(differ(viewer.drawn(), viewer.without_map()))
    assert viewer.said["sides"] == "The patient's right is on the picture's left."
    viewer.choose("sides", "neurological")
    neurological = centre(differ(viewer.drawn(), viewer.without_map()))
    assert viewer.said["sides"] == "The patient's right is on the picture's right."
    assert neurological[0] == pytest.approx(1 - radiological[0], abs=0.01)
    assert neurological[1] == pytest.approx(radiological[1], abs=0.01)


def test_evidence_for_is_warm_and_evidence_against_is_cold(viewer):
    viewer.choose("planes", "axial")
    viewer.goes_to((19, 1, FOR[2]))
    shown, bare = viewer.drawn(), viewer.without_map()
    for_, against = (shown[differ(shown, bare) & side] for side in (left_half(shown), ~left_half(shown)))
    assert len(for_)
    assert len(against)
    assert (for_[:, 0] > for_[:, 2]).all()
    assert (against[:, 2] > against[:, 0]).all()


def left_half(array: np.ndarray) -> np.ndarray:
    return np.indices(array.shape[:2])[1] < array.shape[1] / 2


def test_the_crosshair_tells_place_and_raw_values(viewer):
    viewer.goes_to(AGAINST)
    said = viewer.said
    assert said["place"] == "26.0 mm L, 32.0 mm P, 15.0 mm S (voxel 13, 16, 5)"
    assert (said["image"], said["map"], said["mask"]) == ("10 a.u.", "\u22121.5 logits", "outside")
    viewer.goes_to(FOR)
    assert (viewer.said["image"], viewer.said["map"], viewer.said["mask"]) == ("200 a.u.", "2 logits", "inside")
    viewer.choose("channel", "1")
    assert viewer.said["image"] == "10 a.u."


def test_a_click_moves_the_crosshair_to_what_was_clicked(viewer):
    viewer.choose("planes", "axial")
    viewer.tick("mask")
    viewer.goes_to((19, 1, FOR[2]))
    across, down = centre(differ(viewer.drawn(), viewer.without_map()) & left_half(viewer.drawn()))
    box = viewer.browser.run("document.querySelector('.viewer canvas').getBoundingClientRect().toJSON()")
    viewer.browser.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
    viewer.browser.until("document.querySelector('[data-said=map]').textContent === '2 logits'")
    assert "(voxel 4, 7, 5)" in viewer.said["place"]


def test_it_begins_where_the_map_is_strongest(viewer):
    assert "(voxel 4, 7, 5)" in viewer.said["place"]


@pytest.mark.parametrize(("keys", "voxel"), [
    # In an LPS volume seen in radiological convention, right and down count up.
    (["ArrowRight"], (5, 7, 5)), (["ArrowLeft"], (3, 7, 5)), (["ArrowUp"], (4, 6, 5)), (["ArrowDown"], (4, 8, 5)),
    (["PageUp"], (4, 7, 6)), (["PageDown", "PageDown"], (4, 7, 3)), (["ArrowLeft"] * 9, (0, 7, 5)),
    (["ArrowUp", "s"], FOR),
])  # fmt: skip
def test_keys_move_the_crosshair_as_one_sees_it(viewer, keys, voxel):
    viewer.press(*keys)
    assert f"(voxel {voxel[0]}, {voxel[1]}, {voxel[2]})" in viewer.said["place"]


@pytest.mark.parametrize(("planes", "key", "voxel"), [
    ("coronal", "ArrowUp", (4, 7, 6)), ("coronal", "PageUp", (4, 6, 5)), ("coronal", "ArrowRight", (5, 7, 5)),
    ("sagittal", "ArrowRight", (4, 8, 5)), ("sagittal", "ArrowUp", (4, 7, 6)), ("sagittal", "PageUp", (3, 7, 5)),
])  # fmt: skip
def test_keys_follow_the_plane_that_is_shown(viewer, planes, key, voxel):
    viewer.choose("planes", planes)
    viewer.press(key)
    assert f"(voxel {voxel[0]}, {voxel[1]}, {voxel[2]})" in viewer.said["place"]


def test_keys_switch_what_is_shown(viewer):
    shown = viewer.drawn()
    viewer.press("m")
    assert differ(shown, viewer.drawn()).any()
    viewer.press("m", "k")
    assert differ(shown, viewer.drawn()).any()
    viewer.press("k", "l")
    assert differ(shown, viewer.drawn()).any()
    viewer.press("l")
    assert not differ(shown, viewer.drawn()).any()
    viewer.press("[", "[", "[")
    assert viewer.value("opacity") == "0.7"
    viewer.press("]")
    assert viewer.value("opacity") == "0.8"
    viewer.press("r")
    assert viewer.value("opacity") == "1"
    viewer.press("n")
    assert viewer.value("method") == "rise"
    viewer.press("p", "p")
    assert viewer.value("method") == "lrp"


def test_keys_of_the_drawing_library_do_nothing(viewer):
    before = viewer.browser.run("voxplain.viewer.scene.view.opts.sliceType")
    viewer.press("v", "c", "h", "j")
    assert viewer.browser.run("voxplain.viewer.scene.view.opts.sliceType") == before
    assert "(voxel 4, 7, 5)" in viewer.said["place"]


def test_letters_typed_into_a_field_are_no_commands(viewer):
    viewer.browser.run("document.querySelector('[data-control=palette]').focus()")
    viewer.browser.press("m")
    assert viewer.browser.run("document.querySelector('[data-control=map]').checked")


def test_opacity_and_threshold_change_the_picture_and_say_their_numbers(viewer):
    viewer.choose("planes", "axial")
    viewer.goes_to((19, 1, FOR[2]))
    shown, bare = viewer.drawn(), viewer.without_map()
    viewer.choose("opacity", "0.3")
    weaker = viewer.drawn()
    assert 0 < np.abs(weaker - bare).max() < np.abs(shown - bare).max()
    assert viewer.said["opacity"] == "26 % at the limit"
    viewer.choose("opacity", "1")
    viewer.choose("threshold", "0.8")
    kept = differ(viewer.drawn(), bare)
    # 80 % of the largest, 2, is 1.6: the evidence against, 1.5, is hidden, whatever its sign.
    assert viewer.said["threshold"] == "80 % of the largest (1.6)"
    assert kept[left_half(shown)].any()
    assert not kept[~left_half(shown)].any()


def test_colours_follow_from_the_quantity(viewer):
    assert viewer.value("palette") == "diverging"
    signed = set(viewer.options("palette"))
    viewer.choose("method", "rise")
    assert viewer.value("palette") == "sequential"
    assert not signed & set(viewer.options("palette"))
    shown = viewer.drawn()
    viewer.choose("palette", "viridis")
    assert differ(shown, viewer.drawn()).any()
    viewer.press("n")
    assert viewer.value("palette") == "viridis"


def test_what_failed_and_the_raw_range_stand_beside_the_map(viewer):
    assert viewer.said["range"] == "Raw range \u22121.5 to 2 logits"
    assert viewer.said["failed"] == ""
    viewer.choose("method", "rise")
    assert viewer.said["failed"] == "Do not rely on this map. completeness: the sum misses the score by 40 %"
    assert viewer.said["range"] == "Raw range 0 to 2 logits"
    assert viewer.browser.run("document.querySelector('[data-said=failed]').checkVisibility()")


def test_a_map_without_contrast_is_not_laid_over_the_image(viewer):
    viewer.choose("method", "flat")
    assert "constant map (1 everywhere)" in viewer.said["notice"]
    assert not differ(viewer.drawn(), viewer.without_map()).any()
    assert viewer.said["map"] == "1 logits"


def test_a_method_without_a_map_says_why(viewer):
    viewer.choose("method", "lrp")
    assert viewer.said["failed"] == "No map. no rule"
    assert viewer.said["map"] == "none"


def test_layers_of_a_method_are_chosen_apart(viewer):
    assert viewer.options("method") == ["occlusion(window=4)", "rise", "cam", "flat", "lrp"]
    viewer.choose("method", "cam")
    assert viewer.options("layer") == ["conv1", "conv2"]
    assert viewer.browser.run("document.querySelector('[data-control=layer]').checkVisibility()")
    viewer.choose("layer", "conv2")
    assert "conv2" in viewer.browser.run("voxplain.viewer.shown.map.facts.layer")


def test_every_choice_of_planes_draws_something_of_its_own(viewer):
    seen = []
    for planes in ("planes", "axial", "coronal", "sagittal", "3d"):
        viewer.choose("planes", planes)
        seen.append(viewer.drawn())
    assert all(differ(one, other).any() for n, one in enumerate(seen) for other in seen[:n])


def test_reset_brings_everything_back(viewer):
    shown = viewer.drawn()
    for control, value in (
        ("opacity", "0.2"),
        ("threshold", "0.5"),
        ("planes", "coronal"),
        ("sides", "neurological"),
        ("palette", "red_blue"),
    ):
        viewer.choose(control, value)
    viewer.tick("map")
    viewer.press("ArrowUp")
    viewer.tick("reset")
    assert not differ(shown, viewer.drawn()).any()


def test_a_picture_of_depth_one_is_shown_in_its_own_plane_as_stored(viewer):
    viewer.choose("case", "1")
    assert viewer.browser.run("voxplain.viewer.scene.view.opts.sliceType") == 0
    assert viewer.browser.run("document.querySelector('[data-control=planes]').disabled")
    assert viewer.browser.run("document.querySelector('[data-control=sides]').disabled")
    assert "does not say which side" in viewer.said["sides"]
    assert viewer.said["place"] == "column 30, row 6"
    assert not viewer.browser.run("voxplain.viewer.scene.view.opts.isOrientationTextVisible")
    shown = differ(viewer.drawn(), viewer.without_map())
    across, down = centre(shown)
    # 40 x 30 pixels in a frame that is wider: columns run to the right, rows down.
    height, width = shown.shape
    side = min(width / 40, height / 30)
    assert (across * width - width / 2) / side == pytest.approx(30.5 - 20, abs=0.3)
    assert (down * height - height / 2) / side == pytest.approx(6.5 - 15, abs=0.3)


def test_markup_in_names_is_shown_as_text_and_does_nothing(viewer):
    viewer.choose("case", "1")
    assert EVIL in viewer.options("case")[1]
    assert EVIL in viewer.options("method")
    assert viewer.browser.run("document.title") == "Voxplain viewer"
    assert viewer.browser.run("document.querySelectorAll('main img, main script').length") == 0


@pytest.mark.parametrize("width", [1280, 800])
def test_everything_fits_the_window(viewer, width):
    viewer.browser.resize(width, 900)
    viewer.browser.until("(canvas => canvas.width === canvas.clientWidth && canvas.height === canvas.clientHeight)"
                         "(document.querySelector('.viewer canvas'))")  # fmt: skip
    assert viewer.browser.run("document.documentElement.scrollWidth") <= width
    fields = "select, input, button, summary, canvas"
    boxes = viewer.browser.run(
        f"[...document.querySelectorAll('.viewer :is({fields})')].filter(one => one.checkVisibility())"
        ".map(one => one.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) >= 14
    assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
    assert all(box["width"] >= 17 and box["height"] >= 17 for box in boxes)
    frame = viewer.browser.run("document.querySelector('.viewer-frame').getBoundingClientRect().toJSON()")
    assert frame["width"] >= 0.6 * width
    shown = viewer.drawn()
    assert differ(shown, viewer.without_map()).any()


def test_every_control_has_a_name_for_screen_readers(viewer):
    tree = viewer.browser.send("Accessibility.getFullAXTree", viewer.browser.session)["nodes"]
    roles = ("combobox", "checkbox", "slider", "button", "image", "region", "img", "Canvas")
    nodes = [node for node in tree if not node.get("ignored") and node["role"]["value"] in roles]
    names = {node["name"]["value"] for node in nodes if node.get("name", {}).get("value")}
    assert all(node.get("name", {}).get("value") for node in nodes), [
        n["role"] for n in nodes if not n["name"]["value"]
    ]
    assert {"Case", "Target", "Method", "show the map", "Planes", "Sides", "Reset"} <= names
    assert any(name.startswith("occlusion(window=4) for score of class 1 (glioma), laid over") for name in names)
    assert any(name.startswith("Hide values below") for name in names)


def test_changes_are_spoken_after_a_pause(viewer):
    viewer.press("ArrowRight")
    viewer.browser.until("document.querySelector('[aria-live]').textContent.includes('voxel 5, 7, 5')")
    assert viewer.said["spoken"].startswith("Map 0 logits, image 10 a.u.")


def test_the_focus_can_be_seen_everywhere(viewer):
    viewer.browser.run("document.body.focus()")
    for _ in range(6):
        viewer.browser.press("Tab")
        style = viewer.browser.run(
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert style == ["solid", "3px"]


# --- inside the report page -------------------------------------------------------------------------------------------


def written(folder, path, **options) -> None:
    """A page with the block of a run far below its top."""
    block = volumes_block(read_run(folder), **options)
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>page</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{block.policy}"></head>'
        '<body><script>document.title = "hurt"</script><span data-view="c0-m1"></span>'
        f'<div style="height: 3000px"></div>{block.markup}</body></html>',
        encoding="utf-8",
    )


@pytest.fixture
def page(browser, folder, tmp_path) -> Iterator[Viewer]:
    """A page with the viewer inside, opened from the disk."""
    written(folder, tmp_path / "page.html")
    browser.complaints.clear()
    browser.requested.clear()
    browser.resize(1000, 480)  # few pixels are drawn sooner
    browser.open((tmp_path / "page.html").as_uri())
    yield Viewer(browser)
    assert all(one.startswith(("file:", "data:", "blob:")) for one in browser.requested)


def refusals(browser: Browser) -> list[str]:
    """Complaints of the console; the planted script of the page must give just one."""
    return [one for one in browser.complaints if "Executing inline script violates" not in one]


def test_the_viewer_in_a_page_starts_when_it_is_looked_at(page):
    assert page.browser.run("typeof niivue") == "undefined"
    page.browser.run("document.querySelector('[data-viewer]').scrollIntoView()")
    page.ready()
    assert differ(page.drawn(), page.without_map()).any()
    assert page.said["map"] == "about 2 logits"
    assert refusals(page.browser) == []


def test_no_other_script_of_a_page_runs(page):
    assert page.browser.run("document.title") == "page"
    assert len(page.browser.complaints) == 1


def test_a_button_elsewhere_in_the_page_shows_its_map(page):
    page.browser.run("document.querySelector('[data-view] button').click()")
    page.browser.until("globalThis.voxplain === undefined && voxplain.viewer.shown?.map?.facts.method === 'rise'")
    page.ready()
    assert page.value("method") == "rise"
    assert refusals(page.browser) == []


def test_few_bits_are_said_to_be_near(page):
    page.browser.run("document.querySelector('[data-viewer]').scrollIntoView()")
    page.ready()
    page.goes_to((10, 12, 8))
    assert page.said["map"].startswith("about 0.2047")  # 13 steps of 2 / 127
    assert "values within \u00b17.87e\u22123" in page.said["facts"] or "0.007874" in page.said["facts"]


def test_a_volume_that_the_page_does_not_hold_says_where_it_is(browser, folder, tmp_path):
    written(folder, tmp_path / "page.html", page_bytes=0)
    browser.open((tmp_path / "page.html").as_uri())
    browser.run("document.querySelector('[data-viewer]').scrollIntoView()")
    Viewer(browser).ready()
    assert "voxplain view" in browser.run("document.querySelector('.viewer-trouble').textContent")


def test_the_local_server_brings_what_the_page_does_not_hold(browser, tmp_path):
    folder = make(RunMaker(tmp_path / "run")).folder
    written(folder, folder / "report" / "index.html", page_bytes=0)
    with ViewerServer(folder) as serving:
        thread = Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        browser.open(f"{serving.address}run/report/index.html")
        browser.run("document.querySelector('[data-viewer]').scrollIntoView()")
        viewer = Viewer(browser)
        viewer.ready()
        assert viewer.said["map"] == "2 logits"
        assert viewer.browser.run("document.title") == "page"
        serving.shutdown()
        thread.join()


def test_words_instead_of_a_picture_where_nothing_can_be_drawn(browser, server):
    browser.open(f"{server.address}page.css")
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", browser.session,
                          source="HTMLCanvasElement.prototype.getContext = () => null")  # fmt: skip
    browser.open(server.address)
    Viewer(browser).ready()
    browser.send("Page.removeScriptToEvaluateOnNewDocument", browser.session, identifier=script["identifier"])
    assert "cannot draw volumes" in browser.run("document.querySelector('.viewer-trouble').textContent")
    browser.open("data:text/html,")


def test_a_map_can_be_shown_over_no_image(run, browser):
    image = replace(planted(), identifier="case a")
    run.case(image)
    run.map(attribution(image, spot(image, FOR, 2)), image)
    (run.folder / "cases" / "c1" / "image.nii.gz").unlink()
    with ViewerServer(run.folder) as serving:
        thread = Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        browser.open(serving.address)
        viewer = Viewer(browser)
        viewer.ready()
        assert viewer.options("channel") == ["image is missing"]
        assert differ(viewer.drawn(), viewer.without_map()).any()
        serving.shutdown()
        thread.join()
