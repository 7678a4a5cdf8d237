"""The first part: from two Debians with Postfix to a swapped attachment that is held."""

import re

from document import filled
from world import Failed, wait_for

# Setup's questions, and Enter for what is in brackets.
ENTER = [
    (question, "")
    for question in ("seal, verify, both", "The domain", "sendmail", "Whom to tell", "Make these changes")
]
RECORD = re.compile(r"^(\S+)\._attachment-seal\.(\S+)\. IN TXT \"(v=SEAL1; k=.*)\"$", re.M)
FINGERPRINT = re.compile(r"--fingerprint '([0-9 ]+)'")


def first_part(document, network, sender, receiver, package):
    fingerprints = [set_up(document, network, site, package) for site in (sender, receiver)]

    # Each administrator has the other's fingerprint by telephone.
    pin = document.command("sudo waxseal keys pin example.org --fingerprint")
    receiver.type(filled(pin, {"54284 23459 49718 …": fingerprints[0]}))
    sender.type(filled(pin, {"example.org": "partner.example", "54284 23459 49718 …": fingerprints[1]}))

    print(f"{len(sender.typed) + len(receiver.typed)} commands at both sites, and mail is sealed and checked")
    receiver.world("useradd", "--create-home", "jampa")
    sender.type(document.command("sudo apt install swaks"), [("ontinue? [", "y")])
    sender.type(document.command("echo 'agenda'"))
    send = document.command("sendmail -bs", "seal test")
    sender.type(send)
    letter = wait_for("the message arrives", lambda: receiver.read("/var/mail/jampa"))
    expect("x-attachment-seal=pass header.d=example.org", letter)

    # Somebody has the name servers send the mail through a relay of theirs.
    network.publish("partner.example", ["@ MX 5 relay.example.net."])
    sender.type(send)
    held = document.command("sudo -u waxseal waxseal quarantine list")
    listed = wait_for(
        "the swapped attachment is held",
        lambda: (text := receiver.try_world("sudo", "-u", "waxseal", "waxseal", "quarantine", "list").stdout).count(
            "\n"
        )
        and text,
    )
    expect("fail", listed)
    expect("fail", receiver.type(held))
    if (
        "not the agenda" in receiver.read("/var/mail/jampa")
        or receiver.read("/var/mail/jampa").count("Subject: seal test") != 1
    ):
        raise Failed("the swapped attachment was delivered")
    network.remove("partner.example", "@ MX 5 relay.example.net.")


def set_up(document, network, site, package):
    """Installs and sets up; returns the key's fingerprint."""
    install = document.command("sudo apt install ./waxseal")
    site.type(filled(install, {"waxseal_0.1.0-1~deb12u1_amd64.deb": package}), [])
    printed = site.type(document.exactly("sudo waxseal setup"), ENTER)
    publish(network, site, printed)
    return FINGERPRINT.search(printed)[1]


def publish(network, site, printed):
    """Publishes the record that keygen or setup printed, as the zone's administrator does."""
    site.selector, domain, site.record = RECORD.search(printed).groups()
    network.publish(domain, [f'{site.selector}._attachment-seal TXT "{site.record}"'])


def expect(text, printed):
    if text not in printed:
        raise Failed(f"expected `{text}` in:\n{printed[-4000:]}")
