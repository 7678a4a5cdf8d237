"""Every page of the demo: axe finds nothing, light and dark; and pictures of it."""

from browser import BASE, FACTS, PICTURES, SIZES, Visit, chromium

with chromium() as browser:
    # Each width with each scheme, and every language.
    for language, width, scheme in [
        ("en", 1280, "light"), ("en", 360, "dark"), ("fr", 1280, "dark"), ("ar", 360, "light"),
    ]:
        name = f"{language}-{width}-{scheme}"
        visit = Visit(browser, width=width, language=language, scheme=scheme)
        visit.page.goto(BASE + "/")
        visit.check("login")
        visit.axe("login")
        visit.picture(f"login-{name}", whole=False)
        visit.log_in("demo", FACTS["guest"])
        for page, path in [
            ("now", "/"), ("messages", "/messages"), ("correspondents", "/correspondents"),
            ("correspondent", "/correspondents/example.org"), ("preferences", "/preferences"),
        ]:
            visit.go(path)
            visit.axe(f"{page} {name}")
            visit.picture(f"{page}-{name}")
        visit.go("/")
        for at in range(visit.page.locator(".messages tbody tr").count()):
            visit.go("/")
            visit.page.locator(".messages tbody th a").nth(at).click()
            visit.page.wait_for_load_state()
            visit.check(f"message {at} {name}")
            visit.axe(f"message {at} {name}")
            visit.picture(f"message-{at}-{name}")
        visit.expected_statuses = {404}
        visit.page.goto(BASE + "/no-such-page")
        visit.check("no such page")
        visit.axe("no such page")
        visit.close()
    # On paper: what is folded away is there, and no form is.
    visit = Visit(browser).log_in("demo", FACTS["guest"])
    visit.page.locator(".messages tbody th a").nth(0).click()
    visit.page.wait_for_load_state()
    visit.page.emulate_media(media="print")
    assert visit.page.locator(".hash .whole").first.is_visible()
    assert not visit.page.locator("form").first.is_visible()
    assert not visit.page.locator("nav").first.is_visible()
    visit.picture("message-on-paper")
    visit.page.pdf(path=PICTURES / "message.pdf", format="A4")
    visit.close()
    # The pictures of docs/CONSOLE.md: of a part of each page, so that they stay small.
    (PICTURES / "docs").mkdir(exist_ok=True)
    for name, width, height, language, scheme, is_message in [
        ("now", 1280, 800, "en", "light", False), ("message", 1280, 860, "en", "light", True),
        ("message-slim", 360, 720, "en", "dark", True), ("message-arabic", 1280, 620, "ar", "light", True),
    ]:
        visit = Visit(browser, width=width, language=language, scheme=scheme).log_in("demo", FACTS["guest"])
        if is_message:
            visit.page.locator(".messages tbody th a").nth(0).click()
            visit.page.wait_for_load_state()
        visit.page.set_viewport_size({"width": width, "height": height})
        visit.picture(f"docs/{name}", whole=False)
        visit.close()
print("the demo was looked at")
