"""What the tests of the HTML pages do in a browser, and read from it."""

import json
from collections.abc import Callable
from typing import Any


def resize(browser: Any, width: int, height: int = 800) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )


def open_fresh(browser: Any, address: str) -> None:
    """Open a page on a desktop; what the browser logged before is forgotten."""
    resize(browser, 1280)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(address)


def requested(browser: Any) -> list[str]:
    """Addresses that were asked for since the page was opened."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def column(browser: Any, table: str, at: int) -> list[str]:
    """What the cells of a column are sorted by, from top to bottom."""
    rows = "[...document.getElementById(arguments[0]).tBodies[0].rows]"
    return list(browser.execute_script(f"return {rows}.map(row => row.cells[arguments[1]].dataset.value)", table, at))


def press(browser: Any, table: str, title: str) -> tuple[int, Callable[[], str]]:
    """Click the heading; its place, and what reads its aria-sort."""
    heads = browser.find_elements("css selector", f"#{table} thead th")
    at = next(index for index, head in enumerate(heads) if head.text.startswith(title))
    # at once: a click would miss what still glides
    browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", heads[at])
    heads[at].find_element("tag name", "button").click()
    return at, lambda: str(heads[at].get_attribute("aria-sort"))
