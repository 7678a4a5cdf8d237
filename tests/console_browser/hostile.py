"""Every hostile message, and every list that names it: with scripts and without, wide and narrow, in two languages."""

from browser import FACTS, Visit, chromium

with chromium() as browser:
    # Each two of them together.
    for scripts, width, language in [(True, 1280, "en"), (True, 360, "ar"), (False, 360, "en"), (False, 1280, "ar")]:
        visit = Visit(browser, width=width, language=language, scripts=scripts).log_in("ada")
        assert visit.page.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr")
        for path in ["/", "/messages", "/messages?held=yes", "/correspondents", "/correspondents/example.org"]:
            visit.go(path)
        for at, message in enumerate(FACTS["ids"]):
            visit.go(f"/messages/{message}")
            # All that is folded away is looked at, too.
            visit.page.evaluate("() => document.querySelectorAll('details').forEach(e => e.open = true)")
            visit.check(f"message {at}, all open")
            if scripts and width == 1280:
                visit.axe(f"message {at}")
            if scripts:
                visit.picture(f"{at:02}-{width}")
        # What somebody is made to search for is text, too, in whatever language.
        for attack in [] if language == "ar" else ["%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "%E2%80%AEexe", "%00%1b", "'%20onfocus=alert(1)%20autofocus='"]:
            visit.expected_statuses = {400}
            for field in ["message_id", "queue_id", "from", "to", "domain", "verdict", "day", "held", "after"]:
                visit.page.goto(f"{FACTS['base']}/messages?{field}={attack}")
                visit.check(f"{field}={attack}")
            visit.page.goto(f"{FACTS['base']}/correspondents?domain={attack}")
            visit.check(attack)
            visit.expected_statuses = {400, 404}
            visit.page.goto(f"{FACTS['base']}/correspondents/{attack}")
            visit.check(attack)
            visit.page.goto(f"{FACTS['base']}/messages/{attack}")
            visit.check(attack)
        visit.close()
    # The text is there, marked.
    visit = Visit(browser).log_in("ada")
    visit.go(f"/messages/{FACTS['ids'][0]}")
    visit.has("<script>alert('owned')</script>")
    visit.go(f"/messages/{FACTS['ids'][1]}")
    visit.has("U+202E")
    visit.go(f"/messages/{FACTS['ids'][13]}")
    visit.has("more")
    visit.close()
print("nothing happened")
