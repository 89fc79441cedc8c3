"""The page in a real browser: it loads, lives, finds, asks and acts; a killed primary shows within two seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from bench.leases import fill

from process.pair import WITHIN_S, in_step
from process.server import Server, get_leases
from process.web import Web, web_table, with_web
from system.browser import Browser
from system.needs import need_program
from tandem.admin.demo_pair import Link, Pair, until
from tandem.sim.client import SimClient

pytestmark = pytest.mark.system

AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"
CLIENTS = 40
MILLION = 1_000_000
NOTICED_MAX_S = 2.0
FOUND_MAX_S = 1.0
STATE = 'return [...document.querySelectorAll(".state")].map((each) => each.textContent).join(" ")'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    need_program("chromedriver")
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with in_step(tmp_path_factory.mktemp("pair")) as running:
        link = Link(running.a.address, running.b.address)
        for number in range(CLIENTS):
            client = SimClient(number)
            link.exchange(client, client.solicit())
            link.exchange(client, client.request())
        link.close()
        yield running


def web_of(pair: Pair, name: str) -> Web:
    """Give a web process for one of the two."""
    folder = pair.a.folder / f"web-{name}"
    folder.mkdir()
    file = folder / "tandem.toml"
    file.write_text((pair.a if name == "a" else pair.b).file.read_text() + web_table(folder))
    return Web(file, folder, "--server", name)


@pytest.fixture(scope="module")
def webs(pair: Pair) -> Iterator[dict[str, Web]]:
    with web_of(pair, "a") as of_a, web_of(pair, "b") as of_b:
        yield {"a": of_a, "b": of_b}


def look_at(browser: Browser, web: Web) -> None:
    browser.open(f"http://[::1]:{web.port}/")
    browser.wait('return document.getElementById("facts").textContent.includes("up")')


def kept(browser: Browser, name: str) -> None:
    """Keep a picture for the docs, when they are to be made anew."""
    if os.environ.get("REWRITE"):
        PICTURES.mkdir(exist_ok=True)
        browser.picture(PICTURES / f"{name}.png")


def test_it_shows_both_partners_and_complains_of_nothing(browser: Browser, webs: dict[str, Web]) -> None:
    look_at(browser, webs["a"])
    assert browser.run("return document.title") == "Tandem a"
    assert browser.run(STATE) == "NORMAL NORMAL"
    assert browser.run('return document.getElementById("summary").textContent') == "All is well."
    assert str(CLIENTS) in browser.run('return document.getElementById("pools").textContent')
    assert browser.run('return document.querySelectorAll("svg.plot path").length') >= 4
    assert browser.complaints() == []


def test_it_lives(browser: Browser, webs: dict[str, Web], pair: Pair) -> None:
    look_at(browser, webs["a"])
    in_use = 'return Number(document.querySelector("#pools td.number").textContent)'
    before = browser.run(in_use)
    link, client = Link(pair.a.address, pair.b.address), SimClient(1000)
    link.exchange(client, client.solicit())
    link.exchange(client, client.request())
    link.close()
    assert (
        browser.wait(f"const now = (function () {{ {in_use} }})(); return now > arguments[0] && now", before)
        == before + 1
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(webs: dict[str, Web], scheme: str, tmp_path: Path) -> None:
    """By axe, which knows the rules of WCAG; with what was found on the page as well."""
    dark = (
        ("--force-dark-mode", "--enable-features=WebContentsForceDark:inversion_method/0") if scheme == "dark" else ()
    )
    with Browser(tmp_path, *dark) as own:
        look_at(own, webs["a"])
        find(own, webs["a"], "2001:db8:1::/64")
        kept(own, f"page-{scheme}")
        own.run(AXE.read_text() + "; window.axe = axe")
        axe = "window.asked ??= axe.run().then((result) => { window.result = result }); return window.result"
        found = own.wait(axe)
        assert [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]] == []
        assert len(found["passes"]) > 20
        assert own.run('return matchMedia("(prefers-color-scheme: dark)").matches') == (scheme == "dark")


def find(browser: Browser, web: Web, wanted: str) -> float:
    """Look for something, with a token; give the seconds until it is shown."""
    browser.run('sessionStorage.setItem("token", arguments[0])', web.token)
    took: Any = browser.wait(
        """
        const found = document.getElementById("found");
        if (!window.began) {
          window.began = performance.now();
          document.getElementById("wanted").value = arguments[0];
          document.querySelector("#search button").click();
        } else if (/on record|first/.test(found.textContent)) {
          const took = performance.now() - window.began;
          window.began = 0;
          return took;
        }
        """,
        wanted,
    )
    return float(took) / 1000


def test_a_client_is_found_and_explained(browser: Browser, webs: dict[str, Web]) -> None:
    look_at(browser, webs["a"])
    find(browser, webs["a"], SimClient(7).duid.hex(":"))
    shown = browser.run('return document.getElementById("found").textContent')
    assert "2 on record." in shown
    assert "would be given" in shown


ODD = (
    "<img src=x onerror=alert(1)>",
    "'\"`;--",
    "%00%2f..",
    "zz",
    "::/0",
    "2001:db8::/129",
    "/",
    "x" * 5000,
    "\N{PILE OF POO}",
    "&duid=00",
)


def test_whatever_is_looked_for_there_is_a_sentence(browser: Browser, webs: dict[str, Web]) -> None:
    look_at(browser, webs["a"])
    browser.run('sessionStorage.setItem("token", arguments[0])', webs["a"].token)
    for wanted in ODD:
        browser.run('document.getElementById("wanted").value = arguments[0]', wanted)
        browser.run('document.querySelector("#search button").click()')
        said = browser.wait(
            'const found = document.getElementById("found").textContent;'
            "return /\\.$|on record|first/.test(found) && !/Looking/.test(found) && found"
        )
        assert "." in said, wanted
        assert browser.run('return document.querySelectorAll("#found img, #found script").length') == 0
    assert browser.run(STATE) == "NORMAL NORMAL"
    # What the server refuses is said by the browser, too; nothing else may be.
    assert [each for each in browser.complaints() if "400 (Bad Request)" not in each] == []


def test_commands_ask_for_a_token_and_for_a_yes_and_act(browser: Browser, webs: dict[str, Web], pair: Pair) -> None:
    look_at(browser, webs["a"])
    browser.run("sessionStorage.clear()")
    browser.press("Hand over")
    kept(browser, "asking")
    browser.press("Cancel")
    assert pair.is_in_step()
    browser.press("Hand over")
    browser.press("Hand over")  # the one in the dialog
    browser.wait('return document.getElementById("token").open')
    browser.run('document.getElementById("token-text").value = arguments[0]', webs["a"].token)
    browser.press("Use it")
    until(lambda: bool((pair.a.relationship() or {}).get("stepped-aside")), WITHIN_S, "a has stepped aside")
    browser.wait('return /stepped aside/.test(document.getElementById("summary").textContent)')
    browser.press("Serve again")
    browser.press("Serve again")
    until(pair.is_in_step, WITHIN_S, "both are in NORMAL again")
    browser.wait('return document.getElementById("summary").textContent === "All is well."')


@pytest.mark.speed
def test_a_killed_primary_shows_within_two_seconds_on_both_pages(
    browser: Browser, webs: dict[str, Web], pair: Pair, tmp_path: Path
) -> None:
    with Browser(tmp_path) as other:
        look_at(browser, webs["b"])
        look_at(other, webs["a"])
        browser.run('document.querySelector("#relationships button").focus()')  # who is about to act sees it, too
        pair.a.kill(signal.SIGKILL)
        killed = time.monotonic()
        assert "COMMUNICATIONS-INTERRUPTED" in browser.wait(
            f"const all = (function () {{ {STATE} }})(); return /INTERR/.test(all) && all"
        )
        seen_by_partner = time.monotonic() - killed
        assert browser.run("return document.activeElement.textContent") == "Partner down …"
        assert other.wait('return !document.getElementById("trouble").hidden')
        seen_by_own = time.monotonic() - killed
        kept(browser, "partner-killed")
        assert seen_by_partner < NOTICED_MAX_S
        assert seen_by_own < NOTICED_MAX_S
        pair.a.start()
        until(pair.is_in_step, WITHIN_S, "both are in NORMAL again")
        other.wait('return document.getElementById("trouble").hidden')
        assert other.wait(f"const all = (function () {{ {STATE} }})(); return /^NORMAL NORMAL$/.test(all) && all")


@pytest.mark.speed
def test_one_lease_of_a_million_is_found_within_a_second(browser: Browser, tmp_path: Path) -> None:
    fill(MILLION, tmp_path)
    with Server(tmp_path, with_web(tmp_path)) as server, Web(server.file, tmp_path) as web:
        get_leases(server, 5)
        look_at(browser, web)
        took = [
            find(browser, web, wanted)
            for wanted in (SimClient(5).duid.hex(":"), "2001:db8:1:0:1:1:f:4000", "0c:00:0b:b8:01")
        ]
        assert max(took) < FOUND_MAX_S
        assert "1 on record." in browser.run('return document.getElementById("found").textContent')
