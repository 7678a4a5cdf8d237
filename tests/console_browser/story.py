"""Two people release a held message; a viewer cannot. Then one deletes the other message."""

from browser import BASE, FACTS, Visit, chromium

FIRST, SECOND = FACTS["first"], FACTS["second"]

with chromium() as browser:
    # A link that a colleague mailed leads through the login to the message.
    vera = Visit(browser)
    vera.page.goto(f"{BASE}/messages/{FIRST}")
    vera.has("Log in")
    vera.axe("login")
    vera.page.fill("#name", "vera")
    vera.page.fill("#password", "not her password")
    vera.expected_statuses = {401, 403, 429}
    vera.press("Log in", where="main button[type=submit]")
    vera.has("The name or the password is wrong.")
    vera.axe("a wrong password")
    vera.page.fill("#name", "vera")
    vera.page.fill("#password", FACTS["password"])
    vera.press("Log in", where="main button[type=submit]")
    assert vera.page.url == f"{BASE}/messages/{FIRST}", vera.page.url
    vera.has("Attachments were changed on the way.", "Agenda.pdf", "Altered", "Only an operator or an admin")
    assert vera.page.locator("main form").count() == 0
    vera.page.goto(f"{BASE}/held/{FIRST}/download")
    vera.check("a viewer's download")
    vera.has("You may not do this", "operator")
    vera.axe("forbidden")
    vera.picture("forbidden")

    # Somebody without a mouse gets past the menu.
    vera.go("/")
    vera.page.keyboard.press("Tab")
    assert vera.page.evaluate("() => document.activeElement.className") == "skip"
    vera.page.keyboard.press("Enter")
    assert vera.page.evaluate("() => document.activeElement.id") == "content"

    anna = Visit(browser, scripts=False).log_in("anna")
    anna.has("Waiting for somebody", "Agenda for Thursday", "Minutes of Monday")
    anna.go("/messages")
    anna.page.fill("#message_id", "Agenda.for.Thursday@example.org")
    anna.press("Search")
    anna.has("Agenda for Thursday")
    anna.lacks("Minutes of Monday")
    anna.page.get_by_role("link", name="Agenda for Thursday").click()
    anna.check("the message that was found")
    anna.has("Attachments were changed on the way.", "Telephone the author")
    anna.picture("message")
    anna.page.fill("#release-reason", "telephoned the office")
    anna.press("Ask for the release")
    anna.has("The release is requested", "Another person must release it now.")
    anna.page.get_by_role("link", name="Back", exact=True).click()
    anna.check("after asking")
    anna.has("You asked for the release")
    assert anna.page.locator("#release-reason").count() == 0

    boris = Visit(browser, width=360).log_in("boris", path=f"/messages/{FIRST}")
    boris.has("anna asked for the release", "telephoned the office")
    boris.axe("a request")
    boris.picture("request-360")
    boris.page.fill("#release-reason", "compared the hashes")
    boris.press("Release, as the second person")
    boris.has("Released")
    boris.axe("released")
    boris.picture("released-360")

    anna.go(f"/messages/{FIRST}")
    anna.has("compared the hashes", "telephoned the office")
    anna.lacks("Waiting for somebody")
    anna.picture("trail")

    # Nobody deletes by a slip of the hand: the box must be ticked.
    boris.go(f"/messages/{SECOND}")
    boris.page.get_by_text("Delete", exact=True).first.click()
    boris.page.fill("#delete-reason", "asked for it again")
    boris.page.locator("button.danger").click()
    assert boris.page.url == f"{BASE}/messages/{SECOND}", boris.page.url
    boris.page.check("input[name=sure]")
    boris.press("Delete", where="button.danger")
    boris.has("Deleted")
    boris.go("/")
    boris.has("Nothing is held.")
    boris.axe("nothing held")

    # Her language and her zone are hers from then on, in another browser, too.
    ada = Visit(browser).log_in("ada")
    ada.go("/preferences")
    ada.axe("preferences")
    ada.page.select_option("#language", "fr")
    ada.page.select_option("#zone", "Asia/Kolkata")
    ada.press("Save", where="main button[type=submit]")
    ada.has("Enregistré.")
    other = Visit(browser, language="de").log_in("ada")
    other.go("/messages")
    other.has("Aucun message ne correspond" if not other.page.locator("tbody tr").count() else "IST")
    assert other.page.get_attribute("html", "lang") == "fr"
    other.press("", where="header button")
    other.page.goto(BASE + "/messages")
    assert other.page.locator("#password").count() == 1, "she is logged out"

    for visit in [vera, anna, boris, ada, other]:
        visit.close()
print("the story is told")
