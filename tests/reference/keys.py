"""Key records, pins and delegations (SPEC, section 9). Pins are all that this implementation knows of a domain: it
asks no DNS and remembers nothing."""

import base64
import re

import ed25519
from hashing import from_base64url

# Public suffixes of more than one label that the test vectors need; the whole list is none of this folder's business.
SUFFIXES = {"org.uk", "co.uk", "com.au"}


def parents(domain):
    """The domain and its parents, not above the organisational domain."""
    labels = domain.split(".")
    for i in range(len(labels)):
        name = ".".join(labels[i:])
        if i > 0 and (i == len(labels) - 1 or name in SUFFIXES):
            return
        yield name


class Record:
    """A key record: its `key`, or None if it revokes."""

    def __init__(self, text):
        tags = {}
        pieces = [piece.strip() for piece in text.split(";")]
        if pieces and pieces[-1] == "":
            pieces.pop()
        for piece in pieces:
            name, equals, value = piece.partition("=")
            if not equals or name.strip() in tags:
                raise ValueError("no key record")
            tags[name.strip()] = value.strip()
        if list(tags)[:1] != ["v"] or tags["v"] != "SEAL1" or tags.get("k", "ed25519") != "ed25519" or "p" not in tags:
            raise ValueError("no key record")
        packed = re.sub(r"\s", "", tags["p"]).rstrip("=")
        self.key = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True) if packed else None
        if self.key is not None and len(self.key) != 32:
            raise ValueError("no key")


class Pins:
    """Of each pinned domain its records, by selector (None fits any), and its root keys."""

    def __init__(self, texts):
        """Of a dictionary as the vectors have it: `domain/selector` to a record, `root:domain` to a root key."""
        self.records, self.roots = {}, {}
        for name, text in texts.items():
            if name.startswith("root:"):
                self.roots.setdefault(name[5:], []).append(from_base64url(text, 32))
            else:
                domain, selector = name.split("/")
                self.records.setdefault(domain, []).append((selector, Record(text)))

    def has(self, domain):
        return domain in self.records or domain in self.roots

    def known_to_seal(self, domain):
        return any(self.has(parent) for parent in parents(domain))

    def for_any_alone(self, seal):
        """Whether there is nothing but pins for any selector."""
        selectors = {selector for selector, _ in self.records.get(seal.domain, ()) if selector in (None, seal.selector)}
        return selectors == {None} and not delegated_key(seal, self.roots.get(seal.domain, ()))

    def keys(self, seal):
        """The keys that may have made the seal, each with its trust; None if the selector is revoked."""
        fitting = [record for selector, record in self.records.get(seal.domain, ())
                   if selector in (None, seal.selector)]
        if any(record.key is None for record in fitting):
            return None
        delegated = delegated_key(seal, self.roots.get(seal.domain, ()))
        return [(record.key, "pinned") for record in fitting] + ([(delegated, "root")] if delegated else [])


def delegated_key(seal, roots):
    """The key that a known root vouches for in the seal's `c` (section 9.3); None if none does."""
    form = re.fullmatch(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{86})",
                        seal.delegation or "")
    if not form:
        return None
    root, key, signature = from_base64url(form[1], 32), from_base64url(form[4], 32), from_base64url(form[5], 64)
    statement = (f"attachment-seal-delegation/1\n"
                 f"d={seal.domain};s={seal.selector};nb={form[2]};na={form[3]};p={form[4]}").encode()
    holds = (root in roots and key is not None and signature is not None
             and int(form[2]) <= seal.sealed_at < seal.valid_until <= int(form[3])
             and ed25519.verify(root, statement, signature))
    return key if holds else None
