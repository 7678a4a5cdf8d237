"""Sealing a message (SPEC, section 7)."""

import re

import ed25519
import field
import header
import mime
from hashing import blake3, to_base64url

LIFETIME = 14 * 86400
LIMITS = {"leaves": 1000, "parts": 2000, "levels": 100}


class Refused(Exception):
    """Such a message is not sealed."""


def seal(message, seed, domain, selector, now, links=None):
    """The sealed message. A missing Date or Message-ID must have been added before.

    `links` is the value of the tag `l`, if there is one: this implementation does not read links.
    """
    section = header.split(message)
    if not section.named(b"date") or not section.named(b"message-id"):
        raise Refused("no Date or no Message-ID")
    message = without_own_seals(message, section, domain)
    section = header.split(message)
    root = mime.Part(message)
    parts = list(root.all())
    leaves = mime.leaves(root)
    deepest = max(len(list(leaf.part.ancestors())) for leaf in leaves)
    if len(leaves) > LIMITS["leaves"] or len(parts) > LIMITS["parts"] or deepest > LIMITS["levels"]:
        raise Refused("a limit")
    entries = [field.Entry(leaf.kind, leaf.path, leaf.size, leaf.hash, leaf.type, leaf.name) for leaf in leaves]
    hashes = {"hi": header.identity_hash(section), "ha": header.addressing_hash(section),
              "hs": header.structure_hash(section), "bh": blake3(mime.simple(root.body))}
    tags = ["v=1", "a=ed25519-blake3", f"d={domain}", f"s={selector}", f"t={now}", f"x={now + LIFETIME}"]
    tags += [f"{name}={to_base64url(digest)}" for name, digest in hashes.items()]
    tags.append("m=" + ",".join(entry.write() for entry in entries))
    tags.append("e=" + ",".join(write_mark(part) for part in parts))
    if links is not None:
        tags.append("l=" + links)
    signature = ed25519.sign(seed, field.PREFIX + (";".join(tags) + ";b=").encode())
    return field.fold(tags + ["b=" + to_base64url(signature)]) + b"\r\n" + message


def write_mark(part):
    text = to_base64url(part.fields_mark()[:12]) + "." + to_base64url(part.body_mark()[:12])
    return text if part.is_leaf else f"{text}.{len(part.parts)}"


def without_own_seals(message, section, domain):
    rest = message[section.length:]
    kept = []
    for f in section.fields:
        if f.name == b"attachment-seal" and sealing_domain(f.value) == domain:
            continue
        kept.append(f.raw + b"\r\n")
    return b"".join(kept) + (b"\r\n" if section.ended else b"") + rest


def sealing_domain(value):
    try:
        return field.Seal(value).domain
    except field.Malformed:
        return field.domain_of_malformed(value)


def to_crlf(octets):
    return re.sub(rb"\r?\n", b"\r\n", octets)
