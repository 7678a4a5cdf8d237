"""What became of the parts, the attachments and the text of a changed message (SPEC, section 8, steps 9 to 11)."""

import collections
import re

import header
import mime
import plain


# Charsets in which ASCII is not written as ASCII.
WIDE = re.compile("charset=[^;]*(?:utf-?(?:7|16|32)|ucs-[24])")


class Untouched:
    """Which parts of the message at hand are parts of the list `e`."""

    def __init__(self, root, marks):
        self.covered, self.partner, self.used = set(), {}, set()
        self.marks = marks or []
        for part in root.all():
            if part in self.covered:
                continue
            index = self._find(part)
            if index is None:
                continue
            self.used.update(range(index, self.marks[index].end))
            for offset, inner in enumerate(part.all()):
                self.covered.add(inner)
                self.partner[inner] = index + offset

    def _find(self, part):
        if not self.marks:
            return None
        fields, body = part.fields_mark()[:12], part.body_mark()[:12]
        if part.parent is None:
            top = self.marks[0]
            return 0 if (top.fields, top.body) == (fields, body) else None
        for index, mark in enumerate(self.marks):
            if index and index not in self.used and (mark.fields, mark.body) == (fields, body):
                return index
        return 0 if 0 not in self.used and self._is_wrapped_message(part) else None

    def _is_wrapped_message(self, part):
        top = self.marks[0]
        if (top.fields, top.body) != (header.message_fields(part.section)[:12], part.body_mark(True)[:12]):
            return False
        others = [f for f in part.section.fields if not (f.name or b"").startswith(b"content-")]
        return part.section.ended and not part.in_digest and not plain.field_flaws(others, False)

    def leaf_of(self, part, number_of_mark):
        return number_of_mark.get(self.partner.get(part))


# Charsets in which octets of ASCII are ASCII, at the place that a type has them.
ASCII_CHARSET = re.compile(r"\A(text/[^;]*);charset=(?:utf-8|iso-8859-(?:[1-9]|1[0-6])|windows-125[0-8])(?=;|\Z)")


def _is_type_alike(sealed, leaf):
    """Whether an attachment's type is the sealed one, but for a charset that makes no difference to its octets."""
    is_ascii = re.fullmatch(rb"(?!\s*<)[\t\r\n\x20-\x7e]*", leaf.octets) and b"~{" not in leaf.octets
    if sealed == leaf.type or not is_ascii or re.search("html|xml|xsl|css", leaf.type.partition(";")[0]):
        return sealed == leaf.type
    return ASCII_CHARSET.sub(r"\1", sealed) == ASCII_CHARSET.sub(r"\1", leaf.type)


class Comparison:
    def __init__(self, root, seal, untouched):
        self.seal, self.untouched = seal, untouched
        self.sealed = seal.entries
        self.found = mime.leaves(root)
        if seal.marks is None:
            for leaf in self.found:
                leaf.type = leaf.type.partition(";")[0]
        self.number_of_mark = {}
        for index, mark in enumerate(seal.marks or ()):
            if mark.number is None:
                self.number_of_mark[index] = len(self.number_of_mark)
        self._html_as_text()
        self._pair()
        self._compare_texts()
        self.attachments = self._attachments()

    def _html_as_text(self):
        """HTML that is offered as a file here and was sealed as a text is that text, if the hash is the same."""
        missing = collections.Counter(entry.hash for entry in self.sealed if entry.kind == "t")
        missing.subtract(leaf.hash for leaf in self.found if leaf.kind == "t")
        self.offered = []
        for leaf in self.found:
            if leaf.kind == "a" and leaf.part.type == "text/html" and not leaf.name \
                    and leaf.part.disposition.word != b"attachment":
                text = mime.canonical_text(leaf.octets)
                digest = mime.blake3(text)
                if missing[digest] > 0:
                    missing[digest] -= 1
                    leaf.kind, leaf.octets, leaf.size, leaf.hash = "t", text, len(text), digest
                    self.offered.append(leaf)

    def _pair(self):
        sealed = [n for n, entry in enumerate(self.sealed) if entry.kind == "a"]
        found = [leaf for leaf in self.found if leaf.kind == "a"]
        self.pair = {}

        def by(fits):
            for number in sealed:
                for leaf in found:
                    if number not in self.pair and leaf not in self.pair.values() and fits(number, leaf):
                        self.pair[number] = leaf

        entry = self.sealed
        by(lambda n, leaf: self.untouched.leaf_of(leaf.part, self.number_of_mark) == n)
        by(lambda n, leaf: (entry[n].hash, entry[n].type, entry[n].name) == (leaf.hash, leaf.type, leaf.name))
        by(lambda n, leaf: entry[n].hash == leaf.hash)
        by(lambda n, leaf: entry[n].name == leaf.name and (leaf.name or entry[n].type == leaf.type))

    def _attachments(self):
        result = []
        for number, entry in enumerate(self.sealed):
            if entry.kind != "a":
                continue
            leaf = self.pair.get(number)
            row = {"name": entry.name, "type": entry.type.partition(";")[0]}
            if leaf is None:
                row["status"] = "removed"
            elif self.untouched.leaf_of(leaf.part, self.number_of_mark) == number \
                    or (entry.hash, entry.name) == (leaf.hash, leaf.name) and _is_type_alike(entry.type, leaf):
                row["status"] = "intact"
            else:
                row["status"] = "renamed" if entry.hash == leaf.hash else "altered"
                if entry.name != leaf.name:
                    row["found_name"] = leaf.name
                if entry.type.partition(";")[0] != leaf.type.partition(";")[0]:
                    row["found_type"] = leaf.type.partition(";")[0]
            result.append(row)
        added = [leaf for leaf in self.found if leaf.kind == "a" and leaf not in self.pair.values()]
        for leaf in sorted(added + self.texts_as_files, key=self.found.index):
            result.append({"status": "added", "name": leaf.name, "type": leaf.type.partition(";")[0]})
        return result

    def _compare_texts(self):
        sealed = [entry for entry in self.sealed if entry.kind == "t"]
        found = [leaf for leaf in self.found if leaf.kind == "t"]
        self.text_for = self._text_pairs(sealed, found)
        self.text = self._text_state(sealed, found)

        # Texts that count as added attachments.
        hashes = [entry.hash for entry in sealed]
        html = [leaf for leaf in found if leaf.part.type == "text/html"]
        excess = len(html) - sum(entry.type.startswith("text/html") for entry in sealed)
        unknown = sorted(html, key=lambda leaf: leaf in self.text_for)
        self.texts_as_files = unknown[:max(excess, 0)]
        self.texts_as_files += [leaf for leaf in found if leaf.part.disposition.word not in (b"", b"inline")
                                and leaf.hash not in hashes and leaf not in self.texts_as_files]

    def _text_pairs(self, sealed, found):
        """For found texts the sealed one that each is, how it has grown, and what is new of it."""
        pairs = {}

        def by(fits):
            for entry in sealed:
                for leaf in found:
                    grown = fits(entry, leaf)
                    if grown and leaf not in pairs and all(entry is not other for other, *_ in pairs.values()):
                        pairs[leaf] = (entry, *grown)

        def begins_or_ends(entry, leaf):
            if not entry.size or entry.type != leaf.type or leaf.size <= entry.size or WIDE.search(leaf.type):
                return None
            if mime.blake3(leaf.octets[:entry.size]) == entry.hash:
                return "appended", leaf.octets[entry.size:]
            if mime.blake3(leaf.octets[-entry.size:]) == entry.hash:
                return "prepended", leaf.octets[:-entry.size]
            return None

        by(lambda entry, leaf: ("intact", b"") if (entry.hash, entry.type) == (leaf.hash, leaf.type) else None)
        by(begins_or_ends)
        return pairs

    def _text_state(self, sealed, found):
        places = [next((i for i, leaf in enumerate(found) if self.text_for.get(leaf, (None,))[0] is entry), None)
                  for entry in sealed]
        if None in places or places != sorted(places):
            return "changed"
        states = set()
        for at, leaf in enumerate(found):
            if leaf in self.text_for:
                states.add(self.text_for[leaf][1])
            elif not places or at > places[-1]:
                states.add("appended")
            else:
                states.add("prepended" if at < places[0] else "changed")
        states.discard("intact")
        return "changed" if len(states) > 1 else next(iter(states), "intact")

    def sealed_for(self, leaf):
        """The number of the sealed attachment that a found one is; None if it was added."""
        return next((number for number, found in self.pair.items() if found is leaf), None)

    def container_changed(self):
        moved = [(self.sealed[number].path, leaf.path) for number, leaf in self.pair.items()]
        # HTML that was sealed as a text and is offered as a file here.
        moved += [(entry.path, leaf.path) for leaf in self.offered for entry in self.sealed if entry.hash == leaf.hash]
        if any(not _is_wrapped(sealed, found) for sealed, found in moved):
            return True
        return self._changed_alternative()

    def _changed_alternative(self):
        """A reader shows one branch of an alternative, so with a sealed attachment in it nothing else may move."""
        if not any(e.kind == "a" and "alternative" in e.path.split(".") for e in self.sealed):
            return False
        who = lambda item, number: number if item.kind == "a" else item.type.partition(";")[0]
        below = lambda path: path[path.index("alternative"):] if "alternative" in path.split(".") else None
        sealed = [(below(e.path), who(e, n)) for n, e in enumerate(self.sealed) if below(e.path)]
        found = [(below(l.path), who(l, self.sealed_for(l))) for l in self.found if below(l.path)]
        return sealed != found


def _is_wrapped(sealed, found):
    """Whether `found` is `sealed` with nothing but `mixed` levels around it."""
    while found != sealed and (found + ".").startswith("mixed."):
        found = found[6:]
    return found == sealed
