"""BLAKE3 with 32 octets of output, and the one spelling of base64url (SPEC, section 2)."""

import base64

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF
CHUNK = 1024


def _compress(chaining, words, counter, length, flags):
    s = [*chaining, *IV[:4], counter & MASK, counter >> 32, length, flags]
    words = list(words)
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(MIXES):
            s[a] = (s[a] + s[b] + words[2 * i]) & MASK
            x = s[d] ^ s[a]
            s[d] = (x >> 16 | x << 16) & MASK
            s[c] = (s[c] + s[d]) & MASK
            x = s[b] ^ s[c]
            s[b] = (x >> 12 | x << 20) & MASK
            s[a] = (s[a] + s[b] + words[2 * i + 1]) & MASK
            x = s[d] ^ s[a]
            s[d] = (x >> 8 | x << 24) & MASK
            s[c] = (s[c] + s[d]) & MASK
            x = s[b] ^ s[c]
            s[b] = (x >> 7 | x << 25) & MASK
        words = [words[i] for i in PERMUTATION]
    return [s[i] ^ s[i + 8] for i in range(8)]


def _words(block):
    block = block.ljust(64, b"\0")
    return [int.from_bytes(block[i:i + 4], "little") for i in range(0, 64, 4)]


def _chunk(data, number, last_flags):
    chaining = IV
    blocks = [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        flags = (CHUNK_START if i == 0 else 0) | (CHUNK_END | last_flags if i == len(blocks) - 1 else 0)
        chaining = _compress(chaining, _words(block), number, len(block), flags)
    return chaining


def _tree(data, first_chunk, flags):
    if len(data) <= CHUNK:
        return _chunk(data, first_chunk, flags)
    # The left side holds the largest power of two of chunks that leaves something to the right.
    left = 1 << ((len(data) - 1) // CHUNK).bit_length() - 1
    return _compress(IV, _tree(data[:left * CHUNK], first_chunk, 0)
                     + _tree(data[left * CHUNK:], first_chunk + left, 0), 0, 64, PARENT | flags)


def blake3(data):
    return b"".join(word.to_bytes(4, "little") for word in _tree(bytes(data), 0, ROOT))


def to_base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def from_base64url(text, length):
    """The `length` octets that `text` is the one spelling of; None for anything else."""
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return octets if len(octets) == length and to_base64url(octets) == text else None
