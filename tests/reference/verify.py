"""Checking a message (SPEC, section 8), with what pins tell of keys."""

import re

import author
import ed25519
import field
import header
import keys
import mime
import plain
from compare import Comparison, Untouched
from hashing import blake3

MAX_SEALS = 8
AHEAD, FAR_AHEAD = 300, 86400


def result(verdict, reason=None, **more):
    return {"verdict": verdict, "reason": reason, **more}


def verify(message, pins, now):
    section = header.split(message)
    values = [f.value for f in section.fields if f.name == b"attachment-seal"]
    found = _verify(message, section, values, pins, now)
    if found["verdict"] in ("none", "unaligned", "unknown-key"):
        if plain.is_too_long(section):
            return result("ambiguous", doubts=["header-too-long"])
        if not re.match(rb"[\x21-\x7e]|\r\n", message):
            return result("ambiguous", doubts=["junk-header-line"])
    return found


def _verify(message, section, values, pins, now):
    domain = author.domain(section)
    # Step 1.
    if len(values) > MAX_SEALS:
        return result("fail", "too-many-seals")
    if domain is None:
        named = author.possible_domains(section)
        if values or len(named) > 16:
            return result("ambiguous", doubts=["bad-from"])
        known = any(pins.known_to_seal(name) for name in named if header.is_domain(name))
        return result("missing") if known else result("none") if not named else result("ambiguous", doubts=["bad-from"])
    known = pins.known_to_seal(domain)
    if not values:
        return result("missing" if known else "none")

    # Step 2.
    seals = []
    for value in values:
        try:
            seal = field.Seal(value)
            seals.append((seal, seal.domain))
        except field.Malformed:
            seals.append((None, field.domain_of_malformed(value)))
    names = list(keys.parents(domain))
    aligned = sorted((s for s in seals if s[1] in names), key=lambda s: names.index(s[1]))
    if not aligned:
        return _unaligned(message, section, seals, known, pins, now)
    checked = [_check(message, section, seal, domain, pins, now) for seal, _ in aligned]
    counting = [found for found, state in checked if state == "counts"]
    verified = [found for found, state in checked if state is not None]
    passing = [found for found in counting if found["verdict"] == "pass"]
    return (passing or counting or verified or [found for found, _ in checked])[0]


def _unaligned(message, section, seals, known, pins, now):
    if any(seal is None and domain is None for seal, domain in seals):
        return result("fail", "malformed-seal")
    if known:
        return result("missing")
    for seal, _ in seals:
        if seal is None or not seal.sealed_at - AHEAD <= now <= seal.valid_until:
            continue
        if any(ed25519.verify(key, seal.signed, seal.signature) for key, _ in pins.keys(seal) or ()):
            return result("unaligned")
    return result("none")


def _check(message, section, seal, domain, pins, now):
    """The result by one aligned seal; and None if its signature does not verify, or else whether the seal `counts`: its
    dates are right and its identity is the message's."""
    # Step 3.
    if seal is None:
        return result("fail", "malformed-seal"), None
    # Step 4.
    candidates = pins.keys(seal)
    if candidates is None:
        return result("fail", "revoked-key"), None
    if not candidates:
        known = pins.known_to_seal(domain) or pins.known_to_seal(seal.domain)
        return result("key-changed" if known else "unknown-key"), None
    # Step 5.
    trust = next((trust for key, trust in candidates if ed25519.verify(key, seal.signed, seal.signature)), None)
    if trust is None and pins.for_any_alone(seal):
        return result("key-changed"), None
    if trust is None:
        return result("fail", "bad-signature"), None
    if seal.sealed_at > now + FAR_AHEAD:
        return result("fail", "future-seal", trust=trust), "verified"
    in_date = seal.sealed_at - AHEAD <= now <= seal.valid_until
    # Step 6.
    if header.identity_hash(section) != seal.hashes["hi"]:
        return result("fail", "other-message", trust=trust), "verified"
    found = _judge(message, section, seal)
    found["trust"] = trust
    found["headers"] = "intact" if header.addressing_hash(section) == seal.hashes["ha"] else "changed"
    if found["verdict"] == "pass" and seal.sealed_at > now + AHEAD:
        found.update(verdict="temperror", reason="future-seal")
    if found["verdict"] == "pass" and now > seal.valid_until:
        found["verdict"] = "expired"
    return found, "counts" if in_date else "verified"


def _judge(message, section, seal):
    # Step 7.
    doubts = plain.header_doubts(section)
    if doubts:
        return result("ambiguous", doubts=doubts)
    # Step 8.
    has_structure = header.structure_hash(section) == seal.hashes["hs"]
    if has_structure and blake3(mime.simple(message[section.length:])) == seal.hashes["bh"]:
        return result("pass", body="intact", text="intact", attachments=[
            {"status": "intact", "name": entry.name, "type": entry.type.partition(";")[0]}
            for entry in seal.entries if entry.kind == "a"])
    # Steps 9 to 11.
    root = mime.Part(message)
    untouched = Untouched(root, seal.marks)
    comparison = Comparison(root, seal, untouched)
    found = {"body": "changed", "text": comparison.text, "attachments": comparison.attachments}
    doubts = plain.Judge(root, seal, untouched, comparison, has_structure).doubts()
    if doubts:
        return result("ambiguous", doubts=doubts, **found)
    if any(row["status"] != "intact" for row in comparison.attachments):
        return result("fail", "attachments", **found)
    return result("pass", **found)
