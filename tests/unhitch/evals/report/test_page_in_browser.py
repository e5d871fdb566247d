"""The page in a real browser: it loads nothing, fits, and can be read in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests import browser as browsers
from tests.unhitch.evals.report.scorecards import failing, full, hostile, scorecard
from unhitch.evals.report import page
from unhitch.evidence.scorecard import Scorecard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
CARDS = (scorecard, full, failing, hostile)
UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"
FAINT = """() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = numbers(colour).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const found = getComputedStyle(each).backgroundColor, parts = numbers(found);
      if (parts.length === 3 || parts[3] === 1) return found;
    }
    throw new Error('no ground');
  };
  const faint = [];
  for (const element of document.querySelectorAll('body *')) {
    if (element.closest('title')) continue;
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element);
    const [low, high] = [light(element instanceof SVGElement ? style.fill : style.color), light(ground(element))]
      .sort((a, b) => a - b);
    if ((high + .05) / (low + .05) < 4.5) faint.push(element.className + ': ' + element.textContent.slice(0, 40));
  }
  return faint;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as found:
        yield found


@contextmanager
def opened(
    browser: Browser, card: Scorecard, folder: Path, *, width: int = 1280, scheme: Scheme = "light"
) -> Iterator[Page]:
    file = folder / "card.html"
    file.write_text(page.render(card), "utf-8")
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        shown = context.new_page()
        shown.goto(file.as_uri())
        yield shown


def width_of(shown: Page) -> int:
    return int(shown.evaluate("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("make", CARDS)
def test_the_page_asks_for_nothing_and_complains_of_nothing(
    browser: Browser, make: Callable[[], Scorecard], tmp_path: Path
) -> None:
    file = tmp_path / "card.html"
    file.write_text(page.render(make()), "utf-8")
    asked: list[str] = []
    said: list[str] = []
    with browser.new_context() as context:
        shown = context.new_page()
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("dialog", lambda dialog: said.append(dialog.message))
        shown.goto(file.as_uri(), wait_until="networkidle")
    assert [url for url in asked if url != "data:,"] == [file.as_uri()]
    assert said == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("make", CARDS)
def test_the_page_is_never_wider_than_the_window(
    browser: Browser, make: Callable[[], Scorecard], width: int, tmp_path: Path
) -> None:
    with opened(browser, make(), tmp_path, width=width) as shown:
        folded = width_of(shown)
        shown.evaluate(UNFOLD)
        assert (folded, width_of(shown)) == (width, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("make", [full, failing])
def test_all_text_stands_out_from_its_ground(
    browser: Browser, make: Callable[[], Scorecard], scheme: Scheme, tmp_path: Path
) -> None:
    with opened(browser, make(), tmp_path, scheme=scheme) as shown:
        shown.evaluate(UNFOLD)
        assert shown.evaluate(FAINT) == []


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(252, 252, 250)"), ("dark", "rgb(20, 23, 26)")])
def test_the_page_follows_the_readers_wish_for_light_or_dark(
    browser: Browser, scheme: Scheme, ground: str, tmp_path: Path
) -> None:
    with opened(browser, scorecard(), tmp_path, scheme=scheme) as shown:
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == ground


def test_the_keyboard_reaches_the_content_and_every_fold(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, full(), tmp_path) as shown:
        folds = shown.locator("summary:visible").count()
        reached = []
        for _ in range(folds + 10):
            shown.keyboard.press("Tab")
            reached.append(shown.evaluate("document.activeElement.tagName + document.activeElement.offsetTop"))
    assert reached[0].startswith("A")
    assert len({place for place in reached if place.startswith("SUMMARY")}) == folds


def test_on_paper_nothing_is_folded(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, full(), tmp_path) as shown:
        last = shown.get_by_text("The very end.").last
        before = last.is_visible()
        shown.emulate_media(media="print")
        assert (before, last.is_visible()) == (False, True)


def test_on_paper_nothing_is_cut_off(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, full(), tmp_path, width=720) as shown:
        shown.emulate_media(media="print")
        assert width_of(shown) == 720
