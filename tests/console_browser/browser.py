"""A browser in which nothing may happen that no page of the console ever does."""

import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

FACTS = json.loads(sys.argv[1])
BASE = FACTS["base"]
PICTURES = Path(FACTS["pictures"])
SIZES = {1280: 900, 360: 760}
# What the console's pages never have. Its own icon is the only picture.
FOREIGN = (
    "script, iframe, frame, object, embed, base, style, link[rel=preload], meta[http-equiv], video, audio, [style], "
    "img:not(header.top img), a[href^='javascript:' i], a[target]"
)


@contextmanager
def chromium():
    with sync_playwright() as playwright:
        # Root's Chromium has no sandbox; only tests run it so.
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Visit:
    """One person's browser: its own cookies, a width, a language, light or dark, with scripts or without."""

    def __init__(self, browser, width=1280, language="en", scheme="light", scripts=True):
        self.context = browser.new_context(
            viewport={"width": width, "height": SIZES[width]}, locale=language, color_scheme=scheme,
            java_script_enabled=scripts, timezone_id="UTC", accept_downloads=True,
        )
        self.scripts, self.width = scripts, width
        self.wrong = []
        self.context.on("request", self.request)
        self.context.on("console", lambda message: self.console(message))
        self.context.on("weberror", lambda error: self.wrong.append(f"error: {error.error}"))
        self.page = self.context.new_page()
        self.page.on("dialog", self.dialog)
        self.page.on("popup", lambda popup: self.wrong.append(f"window: {popup.url}"))
        self.expected_statuses = set()

    def request(self, request):
        if not request.url.startswith(BASE + "/"):
            self.wrong.append(f"request to {request.url}")

    def console(self, message):
        # Chromium itself notes an answer that is no success.
        noted = re.search(r"status of (\d+)", message.text)
        if noted and int(noted.group(1)) in self.expected_statuses:
            return
        self.wrong.append(f"console: {message.type}: {message.text}")

    def dialog(self, dialog):
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path):
        self.page.goto(BASE + path)
        self.check(path)
        return self.page

    def log_in(self, name, password=FACTS["password"], path="/"):
        self.page.goto(BASE + path)
        self.check("login")
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        self.press("Log in", where="main button[type=submit]")
        return self

    def press(self, text, where=None):
        """Presses a button or follows a link, and checks the page after it."""
        element = self.page.locator(where) if where else self.page.get_by_role("button", name=text, exact=True)
        element.click()
        self.page.wait_for_load_state()
        self.check(text)

    def text(self):
        return self.page.inner_text("body")

    def has(self, *texts):
        shown = self.text()
        for text in texts:
            assert text in shown, f"{self.page.url} lacks {text!r}:\n{shown}"

    def lacks(self, *texts):
        shown = self.text()
        for text in texts:
            assert text not in shown, f"{self.page.url} has {text!r}:\n{shown}"

    def check(self, where):
        """What holds of every page."""
        assert not self.wrong, f"{where}: {self.wrong}"
        found = self.page.query_selector_all(FOREIGN)
        assert not found, f"{where}: {[element.evaluate('e => e.outerHTML') for element in found]}"
        handlers = self.page.evaluate(
            "() => [...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).map(a => a.name)"
            ".filter(name => name.startsWith('on'))"
        )
        assert not handlers, f"{where}: {handlers}"
        wide, room = self.page.evaluate("() => [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        assert wide <= room, f"{where}: {wide} pixels wide at {room}"
        odd = re.search("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", self.page.content())
        assert not odd, f"{where}: U+{ord(odd.group()):04X}"

    def axe(self, where):
        """axe finds nothing: rules of WCAG 2.2 A and AA, and its own best practice."""
        results = Axe().run(self.page)
        told = [
            f"{violation['id']}: {node['target']}: {node.get('failureSummary')}"
            for violation in results.response["violations"]
            for node in violation["nodes"]
        ]
        assert not told, f"{where}:\n" + "\n".join(told)
        assert not self.wrong, f"{where}: {self.wrong}"

    def picture(self, name, whole=True):
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=whole)

    def close(self):
        self.page.goto("about:blank")
        assert not self.wrong, self.wrong
        self.context.close()
