"""The report in a real browser, opened from disk with the network off: what it draws, and what its controls do."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.publish.report.build import write_report
from tests.support import catalogs
from tests.system.hostile import hostile_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Finished

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
READY_S = 60

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver here")
webdriver: Any = pytest.importorskip("selenium.webdriver", reason="no selenium here")
pytest.importorskip("altair", reason="the report's charts need capgrid[report]")
pytest.importorskip("vl_convert", reason="the report's charts need capgrid[report]")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for this file, with nothing to reach and a log of what it says and asks for."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, OFFLINE, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def files(small: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of the small run in two languages, and of one with a hostile name."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        runs = {"en": small.folder, "zh": small.folder, "hostile": hostile_run(small, folder)}
        return {
            name: write_report(run, "zh" if name == "zh" else "en", folder / f"{name}.html", catalogs=catalogs())
            for name, run in runs.items()
        }


class Tab:
    """A page in the browser."""

    def __init__(self, driver: Any, path: Path, width: int = 1280, scheme: str = "light") -> None:
        """Open it and wait until it has drawn."""
        self.driver = driver
        driver.get_log("browser")
        driver.get_log("performance")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        driver.get(path.as_uri())
        self.wait("return document.documentElement.dataset.ready === 'yes'")

    def js(self, script: str, *args: object) -> Any:
        """The answer of a script."""
        return self.driver.execute_script(script, *args)

    def wait(self, script: str) -> None:
        """Wait until a script answers yes."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, READY_S, 0.05).until(lambda _: self.js(script))

    def find(self, selector: str) -> Any:
        """One element."""
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """The texts of elements."""
        return self.js("return [...document.querySelectorAll(arguments[0])].map(each => each.textContent)", selector)

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return self.js("return document.querySelectorAll(arguments[0]).length", selector)

    def choose(self, name: str, text: str) -> None:
        """Choose in a selector, as a person would, and wait for what it draws."""
        from selenium.webdriver.support.ui import Select

        drawn = self.js("return Number(document.documentElement.dataset.drawn ?? 0)")
        Select(self.find(f"#{name}")).select_by_visible_text(text)
        self.wait(f"return Number(document.documentElement.dataset.drawn ?? 0) > {drawn}")

    def column(self, name: str) -> list[str]:
        """The texts of one column of the table of plans."""
        heads = self.js("return [...document.querySelectorAll('#table thead th')].map(each => each.dataset.id)")
        return self.texts(f"#table tbody tr > :nth-child({heads.index(name) + 1})")


@pytest.fixture
def tab(driver: Any, files: dict[str, Path]) -> Tab:
    """The English report, fresh."""
    return Tab(driver, files["en"])


def number(text: str) -> float:
    """A number of a cell."""
    return float(re.sub(r"[^0-9.]", "", text))


@pytest.mark.parametrize("name", ["en", "zh", "hostile"])
def test_it_opens_without_a_word_or_a_request(driver: Any, files: dict[str, Path], name: str) -> None:
    """Nothing on the console, nothing asked for but the file itself, and no name has become markup."""
    tab = Tab(driver, files[name])
    messages = [json.loads(each["message"])["message"] for each in driver.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert set(asked) <= {files[name].as_uri()}
    assert driver.get_log("browser") == []
    assert tab.js("return performance.getEntriesByType('resource').length") == 0
    assert "owned" not in driver.title
    assert tab.count("img") == 0


def test_charts_are_drawn(tab: Tab) -> None:
    """Every chart has its marks: a point for each batch of each plan, a bar for each part of memory."""
    data = json.loads(tab.js("return document.getElementById('data').textContent"))
    rows = tab.js("return document.querySelectorAll('#cost .mark-symbol path').length")
    assert rows >= 3
    points = tab.count("#curves .mark-symbol path")
    assert points > 3 * rows
    assert points <= len(data["axes"]["accelerator"]) * len(data["batches"])
    assert tab.count("#curves .mark-rule.role-mark line") == 1
    assert tab.count("#front .mark-symbol path") >= 3
    assert tab.count("#memory .mark-rect path") % 5 == 0
    assert tab.count("#memory .mark-rect path") >= 5 * rows
    assert tab.count("#map tbody td") == len(data["map"]["model"]) * len(data["axes"]["accelerator"])
    tab.choose("devices", "1")
    assert "no fit" in tab.texts("#map tbody td.none")


def test_the_model_switch_changes_everything(tab: Tab) -> None:
    """Another model: other points, other costs, other rows, another row of the heat map."""

    def shown() -> list[Any]:
        charts = ("curves", "cost", "front", "memory")
        return [tab.js("return document.getElementById(arguments[0]).innerHTML", each) for each in charts] + [
            tab.column("usd"), tab.texts("#map .chosen button"),
        ]  # fmt: skip

    first = shown()
    tab.choose("model", "mixtral-8x7b")
    second = shown()
    assert all(before != after for before, after in zip(first, second, strict=True))
    assert second[-1] == ["mixtral-8x7b"]
    tab.js("document.querySelectorAll('#map tbody button')[0].click()")
    assert tab.texts("#map .chosen button") == tab.texts("#map tbody button")[:1]
    assert (
        tab.js("return document.getElementById('model').selectedOptions[0].text") == tab.texts("#map .chosen button")[0]
    )


def test_workload_precision_and_devices_change_what_is_shown(tab: Tab) -> None:
    """Each selector has its effect: objective, rows, cells."""
    cells = tab.texts("#map tbody td")
    note = tab.find("#workload-is").text
    tab.choose("workload", "case-study")
    assert tab.find("#workload-is").text != note
    assert tab.texts("#map tbody td") != cells
    tab.choose("workload", "chat")
    assert tab.texts("#map tbody td") == cells
    tab.choose("weights", "int4-awq")
    assert set(tab.column("weights")) == {"int4-awq"}
    tab.choose("weights", "any: the best")
    tab.choose("devices", "8")
    assert not [each for each in tab.texts("#map tbody td") if chr(0xD7) in each]


def test_an_accelerator_can_be_left_out(tab: Tab) -> None:
    """A chip takes its accelerator out of charts and table, and puts it back."""
    chip = next(each for each in tab.driver.find_elements("css selector", "#chips button") if "h100" in each.text)
    marks = tab.count("#curves .mark-symbol path")
    chip.click()
    tab.wait(f"return document.querySelectorAll('#curves .mark-symbol path').length < {marks}")
    assert chip.get_attribute("aria-pressed") == "false"
    assert not [each for each in tab.column("accelerator") if "h100" in each]
    chip.click()
    tab.wait(f"return document.querySelectorAll('#curves .mark-symbol path').length === {marks}")


def test_the_table_sorts(tab: Tab) -> None:
    """A click sorts, another the other way; the head says which; the keyboard does it too."""
    from selenium.webdriver.common.keys import Keys

    costs = [number(each) for each in tab.column("usd") if "$" in each]
    assert costs == sorted(costs)
    tab.find("#table th[data-id=batch_max] button").click()
    up = [number(each) for each in tab.column("batch_max")]
    assert up == sorted(up)
    assert up != sorted(up, reverse=True)
    assert tab.find("#table th[data-id=batch_max]").get_attribute("aria-sort") == "ascending"
    tab.find("#table th[data-id=batch_max] button").send_keys(Keys.ENTER)
    assert [number(each) for each in tab.column("batch_max")] == sorted(up, reverse=True)
    assert tab.find("#table th[data-id=batch_max]").get_attribute("aria-sort") == "descending"
    assert tab.count("#table th[aria-sort]") == 1
    tab.find("#table th[data-id=engine] button").click()
    assert tab.column("engine") == sorted(tab.column("engine"))


def test_the_table_filters(tab: Tab) -> None:
    """Words leave the rows that have all of them; the count follows; all models can be listed."""
    every = tab.column("accelerator")
    tab.find("#filter").send_keys("h100 fp8")
    few = tab.column("accelerator")
    assert 0 < len(few) < len(every)
    assert set(few) == {"h100-sxm-80gb"}
    assert tab.find("#count").text.split()[0] == str(len(few))
    tab.find("#filter").clear()
    tab.find("#filter").send_keys("no such thing")
    assert tab.column("accelerator") == []
    tab.js("const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    assert tab.column("accelerator") == every
    tab.find("#every").click()
    assert len(set(tab.column("model"))) > 3


def test_the_policy_stops_other_scripts(tab: Tab) -> None:
    """A script that gets into the page does not run, and neither does text made code."""
    tab.js("const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.body.append(s)")
    assert tab.js("return window.owned ?? null") is None
    tab.js("const b = document.createElement('b'); b.setAttribute('onclick', 'window.owned = 1'); b.click()")
    assert tab.js("return window.owned ?? null") is None


def test_everything_is_reached_by_keyboard(tab: Tab) -> None:
    """Tab goes through every control in the order of the page, and where it is can be seen."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    seen = []
    for _ in range(120):
        ActionChains(tab.driver).send_keys(Keys.TAB).perform()
        seen.append(tab.js(FOCUSED))
        if seen[-1][0] == "table":
            break
    names = [name for name, _ in seen]
    for name in ("model", "workload", "weights", "chips", "devices", "map", "filter", "every", "table"):
        assert name in names, name
    assert all(visible for _, visible in seen)


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("name", ["en", "zh", "hostile"])
def test_nothing_is_wider_than_the_screen(driver: Any, files: dict[str, Path], width: int, name: str) -> None:
    """The page never scrolls sideways: wide tables scroll in their own box, texts of charts stay in their card."""
    tab = Tab(driver, files[name], width)
    assert tab.js("return document.documentElement.scrollWidth") <= width
    boxes = tab.js(TEXT_BOXES)
    assert len(boxes) == 4
    for left, right, first, last in boxes:
        assert left <= first
        assert last <= right


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_dark(driver: Any, files: dict[str, Path], scheme: str) -> None:
    """Texts have the contrast that WCAG asks for (4.5), and charts follow the scheme."""
    tab = Tab(driver, files["en"], scheme=scheme)
    dark = scheme == "dark"
    background = tab.js("return getComputedStyle(document.body).backgroundColor")
    ink = tab.js("return getComputedStyle(document.querySelector('#cost .role-axis-label text')).fill")
    assert (brightness(background) < 60) == dark
    assert (brightness(ink) > 140) == dark
    weak = [each for each in tab.js(CONTRAST, "h1, h2, h3, p, td, th, small, b, label, button") if each[1] < 4.5]
    assert weak == []


def brightness(colour: str) -> float:
    """The mean of a colour's parts, 0 to 255."""
    parts = [int(each) for each in re.findall(r"\d+", colour)[:3]]
    return sum(parts) / 3


FOCUSED = """
const each = document.activeElement, style = getComputedStyle(each);
const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
return [each.id || each.closest('[id]')?.id || '', seen];
"""
"""Where the focus is, and whether it can be seen."""

TEXT_BOXES = """
return [...document.querySelectorAll('.chart svg')].map(each => {
  const card = each.closest('.card').getBoundingClientRect();
  const texts = [...each.querySelectorAll('text')].filter(t => t.textContent).map(t => t.getBoundingClientRect());
  return [card.left, card.right, Math.min(...texts.map(t => t.left)), Math.max(...texts.map(t => t.right))];
});
"""
"""Of each chart the sides of its card, and how far its texts reach."""

CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgb = text => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const light = text => {
  const part = v => (v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
  const [r, g, b] = [...rgb(text)].slice(0, 3).map(part);
  return .2126 * r + .7152 * g + .0722 * b;
};
const behind = each => {
  for (; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (rgb(colour)[3] > 0) return colour;
  }
  return 'white';
};
return [...document.querySelectorAll(arguments[0])].map(each => {
  const a = light(getComputedStyle(each).color), b = light(behind(each));
  return [each.textContent.slice(0, 20), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
});
"""
"""Of elements their text, and its contrast with what is behind it."""
