#!/usr/bin/env python3
"""Write tampered variants of a portable chain file, none of which may verify.

    python3 tests/vectors/tamper.py FILE OUTDIR

FILE is an honest chain. OUTDIR (created if necessary) receives one file for each variant; its name describes the change.
Variants that make no sense for FILE are left out, such as a swap of two attachments in a file without attachments. The
groups of variants are:

* `raw-`     the file's bytes are changed: its form, and the spelling of single fields. Nothing is recomputed.
* `event-`, `attachment-`, `header-`  single fields or lines are changed, with the correct spelling.
* `states-`  version 2 or 3: the file attaches a state other than the one that the events name.
* `salts-`   version 3: salts and digests are changed, and versions are mixed in ways that may not be.
* `starts-`, `sealed-`  events are changed and everything after them is recomputed (hashes, links and header), as a forger
             would do. Only the rules of §3 to §5 beyond the hashes reveal these.

A history that was rewritten consistently is a valid chain, so it is not a variant here.
"""

import base64
import copy
import hashlib
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from make_vectors import (  # noqa: E402
    attachment_line, cbor, cbor_head, data_digest, event_hash, event_line, header_line, sha1, state_line)

STRANGER = "deadbeef-0000-4000-8000-00000000beef"


# ---------------------------------------------------------------------------------------------------------------------
# A chain in memory: read from an honest file, to be changed and written again


class Chain:
    def __init__(self, raw):
        self.raw = raw
        self.lines = [line + b"\n" for line in raw.split(b"\n")[:-1]]
        rows = [json.loads(line) for line in self.lines]
        self.header = rows[0]
        self.attachments, self.events = [], []
        for row in rows[1:]:
            data = base64.b64decode(row["data"])
            if "sequence" in row:
                parent = row["parent_hash"]
                self.events.append({**row, "data": data, "hash": bytes.fromhex(row["hash"]),
                                    "parent_hash": parent and bytes.fromhex(parent),
                                    "salt": bytes.fromhex(row["salt"]) if "salt" in row else None})
            else:
                kind = "blob" if "blob" in row else "component"
                self.attachments.append([kind, bytes.fromhex(row[kind]), data])

    def copy(self):
        return copy.deepcopy(self)

    def render(self):
        return b"".join([header_line(self.header), *(attachment_line(*one) for one in self.attachments),
                         *(line_of(event) for event in self.events)])

    def rehash(self, index):
        event = self.events[index]
        event["hash"] = event_hash(*hashed(event))

    def seal(self, first=0, relink=True):
        """Recompute every hash and link from `first` on, and the header's numbers and head."""
        for index in range(first, len(self.events)):
            if relink and index > 0:
                self.events[index]["parent_hash"] = self.events[index - 1]["hash"]
            self.rehash(index)
        self.count()
        self.header["head"] = self.events[-1]["hash"].hex()

    def count(self):
        self.header["attachments"], self.header["events"] = len(self.attachments), len(self.events)

    def starts(self):
        return [index for index, event in enumerate(self.events) if event["event_type"] == "started"]


def hashed(event):
    return [event[key] for key in ("sequence", "parent_hash", "event_type", "data", "timestamp", "salt")]


def line_of(event, dropped=False):
    keys = ("sequence", "hash", "parent_hash", "event_type", "data", "timestamp", "salt")
    return event_line(*(event[key] for key in keys), dropped)


def item_end(data, at):
    """The offset after the CBOR item at `at`, in honest data."""
    major, argument = data[at] >> 5, data[at] & 31
    at += 1
    if argument >= 24:
        size = 1 << (argument - 24)
        argument, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major in (2, 3):
        return at + argument
    for _ in range({4: argument, 5: 2 * argument}.get(major, 0)):
        at = item_end(data, at)
    return at


def read_pairs(data):
    """The entries of a CBOR map, as (encoded key, encoded value)."""
    at, pairs = 1, []  # ten entries: a head of one byte
    while at < len(data):
        middle = item_end(data, at)
        end = item_end(data, middle)
        pairs.append((data[at:middle], data[middle:end]))
        at = end
    return pairs


def write_pairs(pairs):
    return cbor_head(5, len(pairs)) + b"".join(key + value for key, value in pairs)


# ---------------------------------------------------------------------------------------------------------------------
# Variants: generators of (name, bytes)


def raw_form(chain):
    """Changes of the form of the whole file."""
    raw, lines = chain.raw, chain.lines
    yield "empty", b""
    yield "only-a-line-feed", b"\n"
    yield "header-only", lines[0]
    yield "no-events", b"".join(lines[: -len(chain.events)])
    yield "no-header", b"".join(lines[1:])
    yield "header-twice", lines[0] + raw
    yield "header-last", b"".join(lines[1:] + lines[:1])
    yield "file-twice", raw + raw
    yield "events-before-attachments", b"".join(
        lines[:1] + lines[1 + len(chain.attachments) :] + lines[1 : 1 + len(chain.attachments)])
    yield "final-newline-missing", raw[:-1]
    yield "last-line-cut", raw[: -len(lines[-1]) // 2]
    yield "last-line-missing", raw[: -len(lines[-1])]
    yield "first-half-only", raw[: len(raw) // 2]
    yield "blank-line-first", b"\n" + raw
    yield "blank-line-after-header", lines[0] + b"\n" + b"".join(lines[1:])
    yield "blank-line-last", raw + b"\n"
    yield "space-last", raw + b" "
    yield "nul-last", raw + b"\0"
    yield "garbage-line-last", raw + b"{}\n"
    yield "comment-last", raw + b"# nothing to see\n"
    yield "crlf", raw.replace(b"\n", b"\r\n")
    yield "crlf-last-line", raw[:-1] + b"\r\n"
    yield "cr", raw.replace(b"\n", b"\r")
    yield "line-separator", raw.replace(b"\n", "\u2028".encode())
    yield "form-feed", raw[:-1] + b"\x0c\n"
    yield "all-on-one-line", raw.replace(b"\n", b"") + b"\n"
    yield "two-lines-joined", raw.replace(b"\n", b"", 1)
    yield "line-broken", raw.replace(b',"', b',\n"', 1)
    yield "json-array", b"[" + raw[:-1].replace(b"\n", b",") + b"]\n"
    yield "bom", b"\xef\xbb\xbf" + raw
    yield "utf-16", raw.decode("utf-8").encode("utf-16")
    yield "utf-8-invalid-line", raw + b"\xff\n"
    yield "deeply-nested-line", raw + b"[" * 200000 + b"\n"


def raw_spelling(chain):
    """Changes of the spelling of one line of each kind; the meaning of the line stays the same."""
    sorts = {"header": 0, "event": len(chain.lines) - 1}
    if chain.attachments:
        sorts["attachment"] = 1
    for sort, number in sorts.items():
        line = chain.lines[number]
        row = json.loads(line)
        keys = list(row)

        def dump(value, **options):
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), **options).encode("utf-8") + b"\n"

        assert dump(row) == line

        def field(key, old, new, row=row, line=line):
            """The line with the spelling of one field's value replaced."""
            text = json.dumps(row[key], ensure_ascii=False).encode("utf-8")
            return line.replace(b'"%s":%s' % (key.encode(), text),
                                b'"%s":%s' % (key.encode(), text.replace(old, new) if old else new), 1)

        body = line[:-1]
        spelt = {
            "space-before": b" " + line,
            "space-after": body + b" \n",
            "tab-after": body + b"\t\n",
            "carriage-return-after": body + b"\r\n",
            "carriage-return-before": b"\r" + line,
            "space-after-brace": b"{ " + line[1:],
            "space-before-brace": body[:-1] + b" }\n",
            "space-after-colon": line.replace(b'":', b'": ', 1),
            "space-before-colon": line.replace(b'":', b'" :', 1),
            "space-after-comma": line.replace(b',"', b', "', 1),
            "no-break-space-after-comma": line.replace(b',"', ',\u00a0"'.encode(), 1),
            "comma-trailing": body[:-1] + b",}\n",
            "comma-doubled": line.replace(b',"', b',,"', 1),
            "brace-missing": body[:-1] + b"\n",
            "brace-doubled": body + b"}\n",
            "second-object": body + b"{}\n",
            "quotes-single": line.replace(b'"', b"'"),
            "keys-sorted-backwards": dump(dict(sorted(row.items(), reverse=True))),
            "keys-last-two-swapped": dump({key: row[key] for key in (*keys[:-2], keys[-1], keys[-2])}),
            "key-doubled-first": b"{" + dump({keys[0]: row[keys[0]]})[1:-2] + b"," + line[1:],
            "key-doubled-last": body[:-1] + b"," + dump({keys[-1]: row[keys[-1]]})[1:],
            "key-doubled-other-value": b"{" + dump({keys[0]: None})[1:-2] + b"," + line[1:],
            "key-extra": body[:-1] + b',"note":null}\n',
            "key-capital": line.replace(keys[0].encode(), keys[0].capitalize().encode(), 1),
            "key-escaped": b'{"\\u%04x' % line[2] + line[3:],
            "nul-within": line.replace(b",", b"\0,", 1),
            "comment-within": line.replace(b",", b"/**/,", 1),
        }
        for key in keys:
            spelt["key-missing-" + key] = dump({other: row[other] for other in keys if other != key})
            value = row[key]
            if isinstance(value, int):
                digits = str(value).encode()
                for name, new in {
                    "leading-zero": b"0" + digits, "plus": b"+" + digits, "point": digits + b".0",
                    "exponent": digits + b"e0", "minus-zero": b"-" + digits, "quoted": b'"' + digits + b'"',
                    "hexadecimal": hex(value).encode(), "plus-2-to-64": str(value + 2**64).encode(),
                    "minus-2-to-64": str(value - 2**64).encode(), "nan": b"NaN", "infinity": b"Infinity",
                    "false": b"false", "true": b"true", "null": b"null", "array": b"[" + digits + b"]",
                    "underscore": digits[:1] + b"_" + digits[1:] if len(digits) > 1 else digits + b"_",
                    "arabic-digits": "".join(chr(0x660 + int(d)) for d in str(value)).encode(),
                    "huge": b"9" * 10000, "empty": b"",
                }.items():
                    spelt[f"{key}-{name}"] = field(key, b"", new)
            elif isinstance(value, str):
                spelt[f"{key}-escaped"] = field(key, value[:1].encode(), b"\\u%04x" % ord(value[0])) if value else line
                spelt[f"{key}-slash-escaped"] = field(key, b"/", b"\\/")
                spelt[f"{key}-null"] = field(key, b"", b"null")
                spelt[f"{key}-number"] = field(key, b"", b"0")
                spelt[f"{key}-array"] = field(key, b"", b"[" + json.dumps(value, ensure_ascii=False).encode() + b"]")
                if key != "event_type":
                    spelt[f"{key}-empty"] = field(key, b"", b'""')
                    spelt[f"{key}-space-within"] = field(key, b'"', b' "').replace(b': "', b':"')
                if key in ("hash", "parent_hash", "head", "component", "blob", "actor", "salt"):
                    spelt[f"{key}-uppercase"] = field(key, b"", b'"' + value.upper().encode() + b'"')
                    spelt[f"{key}-short"] = field(key, b"", b'"' + value[:-2].encode() + b'"')
                    spelt[f"{key}-long"] = field(key, b"", b'"' + value.encode() + b'00"')
                    spelt[f"{key}-0x"] = field(key, b"", b'"0x' + value[2:].encode() + b'"')
                    spelt[f"{key}-not-hex"] = field(key, b"", b'"' + value[:-1].encode() + b'g"')
                    spelt[f"{key}-nonascii-digit"] = field(key, b"", b'"' + (value[:-1] + "\u0661").encode() + b'"')
                if key == "actor":
                    spelt["actor-unhyphenated"] = field(key, b"-", b"")
                    spelt["actor-braces"] = field(key, b"", b'"{' + value.encode() + b'}"')
                    spelt["actor-urn"] = field(key, b"", b'"urn:uuid:' + value.encode() + b'"')
                if key == "data":
                    spelt["data-space"] = field(key, b"", b'"' + value[:4].encode() + b" " + value[4:].encode() + b'"')
                    spelt["data-padding-extra"] = field(key, b"", b'"' + value.encode() + b'="')
                    spelt["data-padding-quad"] = field(key, b"", b'"' + value.encode() + b'===="')
                    spelt["data-one-character-more"] = field(key, b"", b'"' + value.encode() + b'A"')
        for name, new in spelt.items():
            yield f"{sort}-{name}", b"".join(chain.lines[:number] + [new] + chain.lines[number + 1 :])
    for name, new in {"missing": b"", "empty": b'"parent_hash":"",', "quoted": b'"parent_hash":"null",',
                      "capital": b'"parent_hash":Null,', "none": b'"parent_hash":None,', "false": b'"parent_hash":false,',
                      "0": b'"parent_hash":0,', "array": b'"parent_hash":[],', "nothing": b'"parent_hash":,'}.items():
        yield f"first-parent-{name}", chain.raw.replace(b'"parent_hash":null,', new, 1)


def raw_base64(chain):
    """Other spellings of one payload, in the first lines where they are possible."""
    for sort, lines in {"attachment": range(1, 1 + len(chain.attachments)),
                        "event": range(1 + len(chain.attachments), len(chain.lines))}.items():
        done = set()
        for number in lines:
            line = chain.lines[number]
            data = json.loads(line)["data"]
            forms = {}
            if data.endswith("="):
                alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                stem = data.rstrip("=")
                pad = data[len(stem) :]
                forms["unpadded"] = stem
                forms["padded-less"] = data[:-1]
                forms["unused-bit-set-%d" % len(pad)] = stem[:-1] + alphabet[alphabet.index(stem[-1]) + 1] + pad
                forms["padding-within"] = stem[:-1] + pad + stem[-1]
            if "+" in data or "/" in data:
                forms["url-safe"] = data.replace("+", "-").replace("/", "_")
            if data:
                forms["line-feed-escaped"] = data[:4] + "\\n" + data[4:]
                forms["non-ascii"] = data[:-1] + "\u00e9"
            for name, new in forms.items():
                if name not in done:
                    done.add(name)
                    yield f"{sort}-data-{name}", b"".join(
                        chain.lines[:number] + [line.replace(data.encode(), new.encode(), 1)] + chain.lines[number + 1 :])


def raw_flips(chain):
    """Changes of one bit of one byte, at places spread over the file."""
    size = len(chain.raw)
    for part in range(16):
        at = min(size * part // 16 + part, size - 1)
        changed = bytearray(chain.raw)
        changed[at] ^= 1 << (part % 8)
        yield f"bit-{part % 8}-of-byte-{at}", bytes(changed)


def header_fields(chain):
    for key, values in {
        "format": ["theater-chains", "Theater-chain", "theater-chain ", ""],
        "version": [0, 1, 2, 3, 4, 2**32 + 1, 2**64 - 1],
        "actor": [STRANGER],
        "component": ["00" * 32],
        "attachments": [chain.header["attachments"] + 1, chain.header["attachments"] - 1, 0, 2**64 - 1],
        "events": [chain.header["events"] + 1, chain.header["events"] - 1, 0, 2**64 - 1],
        "head": ["00" * 20, chain.events[0]["hash"].hex(), chain.events[-2]["hash"].hex() if chain.events[1:] else ""],
    }.items():
        for value in dict.fromkeys(values):
            if value != chain.header[key]:
                other = chain.copy()
                other.header[key] = value
                yield f"{key}-{str(value).replace(' ', '_') or 'empty'}", other.render()
    other = chain.copy()
    other.header["attachments"], other.header["events"] = other.header["events"], other.header["attachments"]
    if other.header != chain.header:
        yield "numbers-swapped", other.render()


def attachments(chain):
    last = len(chain.attachments) - 1

    def made(change, count=False):
        other = chain.copy()
        change(other.attachments)
        if count:
            other.count()
        return other.render()

    def flip(data, at=0):
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    for index, (kind, name, data) in enumerate(chain.attachments):
        label = f"{index}-{kind}"
        yield f"{label}-dropped", made(lambda a: a.pop(index))
        yield f"{label}-doubled", made(lambda a: a.insert(index, a[index]))
        yield f"{label}-doubled-counted", made(lambda a: a.insert(index, a[index]), count=True)
        yield f"{label}-doubled-last-counted", made(lambda a: a.append(a[index]), count=True)
        yield f"{label}-data-flipped", made(lambda a: a.__setitem__(index, [kind, name, flip(data)]))
        yield f"{label}-data-last-flipped", made(lambda a: a.__setitem__(index, [kind, name, flip(data, len(data) - 1)]))
        yield f"{label}-data-emptied", made(lambda a: a.__setitem__(index, [kind, name, b""]))
        yield f"{label}-data-longer", made(lambda a: a.__setitem__(index, [kind, name, data + b"\0"]))
        yield f"{label}-name-flipped", made(lambda a: a.__setitem__(index, [kind, flip(name, 19), data]))
        yield f"{label}-changed-and-renamed", made(lambda a: a.__setitem__(
            index, [kind, (sha1 if kind == "blob" else sha256)(data + b"!"), data + b"!"]))
        other_kind = "component" if kind == "blob" else "blob"
        yield f"{label}-called-{other_kind}", made(lambda a: a.__setitem__(index, [other_kind, name, data]))
        yield f"{label}-as-{other_kind}", made(lambda a: a.__setitem__(
            index, [other_kind, (sha256 if kind == "blob" else sha1)(data), data]))
        yield f"{label}-named-attachment", made(lambda a: a.__setitem__(index, ["attachment", name, data]))
        if index < last:
            yield f"{label}-swapped-with-next", made(lambda a: a.insert(index, a.pop(index + 1)))
            after = chain.attachments[index + 1]
            yield f"{label}-data-swapped-with-next", made(lambda a: (
                a.__setitem__(index, [kind, name, after[2]]), a.__setitem__(index + 1, [*after[:2], data])))
    if last > 0:
        yield "all-reversed", made(lambda a: a.reverse())
    if last >= 0:
        yield "all-dropped", made(lambda a: a.clear())
        lines = chain.lines
        yield "among-the-events", b"".join(lines[:1] + lines[2 : 3 + last] + lines[1:2] + lines[3 + last :])
    for kind, hasher in (("component", sha256), ("blob", sha1)):
        for data in (b"nobody names this", b"nor this" * 1000, b""):
            def add(a, data=data, kind=kind, hasher=hasher):
                a.append([kind, hasher(data), data])
                a.sort(key=lambda one: (one[0] == "blob", one[1]))
            yield f"unnamed-{kind}-of-{len(data)}-added-counted", made(add, count=True)


def sha256(data):
    return hashlib.sha256(data).digest()


def events(chain):
    """Changes of one event in its correct form; then the same with its own hash recomputed but nothing relinked."""
    count = len(chain.events)
    places = sorted({0, 1, count // 2, count - 1} & set(range(count)))
    for index in places:
        event = chain.events[index]
        data = event["data"]
        changes = {
            "timestamp-plus-one": ("timestamp", event["timestamp"] + 1 & 2**64 - 1),
            "timestamp-zero": ("timestamp", 0),
            "timestamp-max": ("timestamp", 2**64 - 1),
            "sequence-plus-one": ("sequence", event["sequence"] + 1),
            "sequence-max": ("sequence", 2**64 - 1),
            "type-stopped": ("event_type", "stopped"),
            "type-started": ("event_type", "started"),
            "type-longer": ("event_type", event["event_type"] + "x"),
            "type-other-function": ("event_type", event["event_type"].partition(" ")[0] + " f.g"),
            "type-empty": ("event_type", ""),
            "data-emptied": ("data", b""),
            "data-longer": ("data", data + b"\0"),
            "data-first-bit": ("data", bytes([data[0] ^ 1]) + data[1:] if data else b"\1"),
            "data-last-bit": ("data", data[:-1] + bytes([data[-1] ^ 1]) if data else b"\2"),
            "parent-none": ("parent_hash", None),
            "parent-zero": ("parent_hash", bytes(20)),
            "parent-flipped": ("parent_hash", bytes([(event["parent_hash"] or b"\0")[0] ^ 1]) +
                               (event["parent_hash"] or bytes(20))[1:]),
            "parent-own-hash": ("parent_hash", event["hash"]),
            "hash-flipped": ("hash", bytes([event["hash"][0] ^ 1]) + event["hash"][1:]),
            "hash-last-bit": ("hash", event["hash"][:-1] + bytes([event["hash"][-1] ^ 1])),
            "hash-zero": ("hash", bytes(20)),
            "hash-of-parent": ("hash", event["parent_hash"] or bytes(20)),
            "hash-plain-sha1-of-data": ("hash", sha1(data)),
            "salt-first-bit": ("salt", event["salt"] and bytes([event["salt"][0] ^ 1]) + event["salt"][1:]),
            "salt-last-bit": ("salt", event["salt"] and event["salt"][:-1] + bytes([event["salt"][-1] ^ 1])),
            "salt-zero": ("salt", event["salt"] and bytes(16)),
            "salt-of-another": ("salt", event["salt"] and chain.events[index - 1]["salt"]),
        }
        for name, (key, value) in changes.items():
            if event[key] == value:
                continue
            other = chain.copy()
            other.events[index][key] = value
            yield f"{index}-{name}", other.render()
            if key != "hash":
                other.rehash(index)
                yield f"{index}-{name}-rehashed", other.render()
                if index == count - 1 and key in ("sequence", "parent_hash"):
                    other.header["head"] = other.events[index]["hash"].hex()
                    yield f"{index}-{name}-rehashed-with-head", other.render()
        first = 1 + len(chain.attachments)
        line = first + index
        lines = chain.lines
        yield f"{index}-dropped", b"".join(lines[:line] + lines[line + 1 :])
        yield f"{index}-doubled", b"".join(lines[: line + 1] + lines[line:])
        other = chain.copy()
        other.events.insert(index, other.events[index])
        other.count()
        yield f"{index}-doubled-counted", other.render()
        if count > 1 and index < count - 1:
            other = chain.copy()
            del other.events[index]
            other.count()
            yield f"{index}-dropped-counted", other.render()
            yield f"{index}-swapped-with-next", b"".join(
                lines[:line] + [lines[line + 1], lines[line]] + lines[line + 2 :])
            other = chain.copy()
            one, two = other.events[index], other.events[index + 1]
            one["data"], two["data"] = two["data"], one["data"]
            if one["data"] != two["data"]:
                yield f"{index}-data-swapped-with-next", other.render()
    if count > 1:
        other = chain.copy()
        other.events.pop()
        other.count()
        yield "last-dropped-counted", other.render()
        yield "all-reversed", b"".join(chain.lines[: 1 + len(chain.attachments)] + chain.lines[:-count - 1 : -1])
    other = chain.copy()
    other.events.clear()
    other.count()
    yield "all-dropped-counted", other.render()


def sealed(chain):
    """Changes after which everything is recomputed, so that only the document's rules beyond the hashes reveal them."""
    count = len(chain.events)

    def made(change, first=0, relink=True):
        other = chain.copy()
        change(other)
        other.seal(first, relink)
        return other.render()

    def set_event(index, key, value):
        return lambda c: c.events[index].__setitem__(key, value)

    # §3
    bad_types = {
        "unknown": "paused", "capital": "Stopped", "empty": "", "space-only": " ", "function-missing": "call",
        "function-empty": "call ", "two-spaces": "call  f", "space-in-function": "call f g", "space-after": "call f ",
        "space-before": " stopped", "space-after-word": "stopped ", "function-not-allowed": "failed f",
        "unknown-with-function": "tell f", "no-break-space": "call\u00a0f", "host-call-underscore": "host_call f",
        "utf-8-invalid": b"call \xff", "utf-8-overlong": b"call \xc0\xaf", "utf-8-surrogate": b"call \xed\xa0\x80",
        "utf-8-cut": b"call \xe2\x82", "utf-8-beyond": b"call \xf4\x90\x80\x80", "control-raw": b"call \x01",
        "tab-raw": b"call a\tb", "carriage-return-raw": b"call a\rb", "quote-raw": b'call a"b',
        "backslash-raw": b"call a\\b",
    }
    for name, event_type in bad_types.items():
        yield f"type-{name}", made(lambda c: c.events.append(
            {**c.events[-1], "sequence": count, "event_type": event_type, "data": b"\xa0"}))
    yield "first-event-not-started", made(set_event(0, "event_type", "stopped"))
    yield "first-event-call", made(set_event(0, "event_type", "call f"))
    if count > 1:
        if chain.events[1]["event_type"] != "started":
            yield "second-event-called-started", made(set_event(1, "event_type", "started"))
        yield "last-event-started-without-data", made(lambda c: c.events[-1].update(event_type="started", data=b""))

    # §5.4, 3: sequence and links
    yield "first-has-zero-parent", made(set_event(0, "parent_hash", bytes(20)))
    yield "sequence-from-1", made(lambda c: [event.update(sequence=event["sequence"] + 1) for event in c.events])
    yield "sequence-last-plus-one", made(set_event(-1, "sequence", count))
    yield "sequence-last-max", made(set_event(-1, "sequence", 2**64 - 1))
    if count > 1:
        yield "sequence-last-repeated", made(set_event(-1, "sequence", count - 2))
        yield "last-without-parent", made(set_event(-1, "parent_hash", None), relink=False)
        yield "last-with-zero-parent", made(set_event(-1, "parent_hash", bytes(20)), relink=False)
        yield "last-names-itself", made(set_event(-1, "parent_hash", chain.events[-1]["hash"]), relink=False)
        yield "first-dropped", made(lambda c: c.events.pop(0))
    if count > 2:
        yield "last-names-the-one-before-its-parent", made(
            set_event(-1, "parent_hash", chain.events[-3]["hash"]), relink=False)

    # §2: the hash computed in another way, throughout
    def other_hash(compute):
        def change(c):
            parent = None
            for event in c.events:
                event["parent_hash"] = parent
                kind = event["event_type"].encode()
                parent = event["hash"] = compute(event, kind)
            c.header["head"] = parent.hex()
        other = chain.copy()
        change(other)
        return other.render()

    def parts(event, kind, domain=None, order="big", none=b"\0", digest=data_digest, length=8):
        parent, data, salt = event["parent_hash"], event["data"], event["salt"]
        if domain is None:
            domain = b"theater-chain-event-v1\0" if salt is None else b"theater-chain-event-v3\0"
        return sha1(domain + event["sequence"].to_bytes(8, order) + (none if parent is None else b"\1" + parent)
                    + event["timestamp"].to_bytes(8, order) + len(kind).to_bytes(4, order) + kind
                    + len(data).to_bytes(length, order) + digest(data, salt))

    for name, options in {"no-domain": {"domain": b""}, "domain-v2": {"domain": b"theater-chain-event-v2\0"},
                          "domain-without-nul": {"domain": b"theater-chain-event-v1"},
                          "little-endian": {"order": "little"}, "no-parent-as-zeros": {"none": bytes(21)},
                          "data-itself": {"digest": lambda data, salt: data}, "data-length-4": {"length": 4},
                          **other_digests(chain)}.items():
        yield f"hash-{name}", other_hash(lambda event, kind: parts(event, kind, **options))

    # §5.4, 5: started
    for which, index in (("first", chain.starts()[0]), ("last", chain.starts()[-1]))[chain.starts()[1:] == [] :]:
        data = chain.events[index]["data"]
        pairs = read_pairs(data)

        def put(key, value, pairs=pairs):
            return write_pairs([(k, value if k == cbor(key) else v) for k, v in pairs])

        actor = chain.header["actor"]
        big = dict(pairs)[cbor("incarnation")]
        is_fork = dict(pairs)[cbor("reason")] == cbor("fork")
        link = {"hash": bytes(20), "actor": STRANGER, "sequence": 7}

        def with_fork(value, pairs=pairs):
            return write_pairs(sorted([pair for pair in pairs if pair[0] != cbor("fork")] + [(cbor("fork"), value)]))

        datas = {
            "id-stranger": put("id", cbor(STRANGER)),
            "id-uppercase": put("id", cbor(actor.upper())),
            "id-unhyphenated": put("id", cbor(actor.replace("-", ""))),
            "id-space-after": put("id", cbor(actor + " ")),
            "id-nul-after": put("id", cbor(actor + "\0")),
            "id-empty": put("id", cbor("")),
            "id-bytes": put("id", cbor(actor.encode())),
            "id-null": put("id", cbor(None)),
            "id-array": put("id", cbor([actor])),
            "name-null": put("name", cbor(None)),
            "name-utf-8-invalid": put("name", b"\x61\xff"),
            "name-utf-8-surrogate": put("name", b"\x63\xed\xa0\x80"),
            "name-utf-8-overlong": put("name", b"\x62\xc0\x80"),
            "name-length-not-shortest": put("name", b"\x78\x01x"),
            "name-length-not-shortest-2": put("name", b"\x79\x00\x18" + b"x" * 24),
            "name-indefinite": put("name", b"\x7f\x61x\xff"),
            "state-text": put("state", cbor("state")),
            "state-uint": put("state", cbor(0)),
            "state-false": put("state", cbor(False)),
            "state-undefined": put("state", b"\xf7"),
            "state-inline-4097": put("state", cbor(bytes(4097))),
            "state-indefinite": put("state", b"\x5f\x41x\xff"),
            "state-empty-map": put("state", cbor({})),
            "state-without-len": put("state", cbor({"sha1": bytes(20)})),
            "state-without-sha1": put("state", cbor({"len": 5000})),
            "state-sha1-short": put("state", cbor({"len": 5000, "sha1": bytes(19)})),
            "state-sha1-32": put("state", cbor({"len": 5000, "sha1": bytes(32)})),
            "state-sha1-text": put("state", cbor({"len": 5000, "sha1": "0" * 20})),
            "state-len-bytes": put("state", cbor({"len": b"\0", "sha1": bytes(20)})),
            "state-len-negative": put("state", b"\xa2\x63len\x20\x64sha1\x54" + bytes(20)),
            "state-len-4096": put("state", cbor({"len": 4096, "sha1": bytes(20)})),
            "state-len-true": put("state", cbor({"len": True, "sha1": bytes(20)})),
            "state-third-key": put("state", cbor({"len": 5000, "sha1": bytes(20), "x": None})),
            "state-keys-swapped": put("state", b"\xa2\x64sha1\x54" + bytes(20) + b"\x63len\x19\x13\x88"),
            "limits-null": put("limits", cbor(None)),
            "limits-array": put("limits", cbor([])),
            "limits-negative": put("limits", b"\xa1\x61a\x20"),
            "limits-text": put("limits", cbor({"a": "1"})),
            "limits-true": put("limits", cbor({"a": True})),
            "limits-null-within": put("limits", cbor({"a": None})),
            "limits-bignum": put("limits", b"\xa1\x61a\xc2\x49\x01" + bytes(8)),
            "limits-float": put("limits", b"\xa1\x61a\xf9\x3c\x00"),
            "limits-float-64": put("limits", b"\xa1\x61a\xfb\x3f\xf0" + bytes(6)),
            "limits-key-uint": put("limits", b"\xa1\x01\x01"),
            "limits-key-bytes": put("limits", b"\xa1\x41a\x01"),
            "limits-key-null": put("limits", b"\xa1\xf6\x01"),
            "limits-key-twice": put("limits", b"\xa2\x61a\x01\x61a\x01"),
            "limits-keys-unsorted": put("limits", b"\xa2\x61b\x01\x61a\x01"),
            "limits-keys-longer-first": put("limits", b"\xa2\x62aa\x01\x61b\x01"),
            "limits-indefinite": put("limits", b"\xbf\x61a\x01\xff"),
            "limits-odd": put("limits", b"\xa1\x61a"),
            "parent-bytes": put("parent", cbor(b"")),
            "parent-uint": put("parent", cbor(0)),
            "parent-false": put("parent", cbor(False)),
            "reason-unknown": put("reason", cbor("whim")),
            **({"reason-of-version-3": put("reason", cbor("upgrade"))} if not chain.events[index]["salt"] else {}),
            **{f"label-{name}": write_pairs(sorted([*(pair for pair in pairs if pair[0] != cbor("label")),
                                                    (cbor("label"), cbor(value))]))
               for name, value in {"null": None, "bytes": b"alice", "uint": 1,
                                   **({} if chain.events[index]["salt"] else {"of-version-3": "alice"})}.items()},
            "reason-capital": put("reason", cbor("Spawn")),
            "reason-empty": put("reason", cbor("")),
            "reason-null": put("reason", cbor(None)),
            "reason-bytes": put("reason", cbor(b"spawn")),
            "reason-of-another": put("reason", cbor("restart" if is_fork else "fork")),
            "fork-null": with_fork(cbor(None)),
            "fork-text": with_fork(cbor("7")),
            "fork-hash-short": with_fork(cbor({**link, "hash": bytes(19)})),
            "fork-hash-text": with_fork(cbor({**link, "hash": "0" * 20})),
            "fork-actor-other": with_fork(cbor({**link, "actor": "nobody"})),
            "fork-sequence-text": with_fork(cbor({**link, "sequence": "7"})),
            "fork-sequence-true": with_fork(cbor({**link, "sequence": True})),
            "fork-third-key": with_fork(cbor({**link, "note": None})),
            "fork-without-sequence": with_fork(cbor({key: link[key] for key in ("hash", "actor")})),
            "fork-after-name": write_pairs(sorted(pairs, key=lambda pair: (pair[0] == cbor("fork")))) if is_fork else
                               write_pairs([*pairs, (cbor("fork"), cbor(link))]),
            "fork-missing-or-unasked": write_pairs([pair for pair in pairs if pair[0] != cbor("fork")]) if is_fork else
                                       with_fork(cbor(link)),
            "resumes-null": put("resumes", cbor(None)),
            "resumes-0": put("resumes", cbor(0)),
            "resumes-1": put("resumes", cbor(1)),
            "resumes-text": put("resumes", cbor("false")),
            "resumes-two-bytes": put("resumes", b"\xf8\x14"),
            "manifest-null": put("manifest", cbor(None)),
            "manifest-bytes": put("manifest", cbor(b"name")),
            "component-31": put("component", cbor(bytes(31))),
            "component-33": put("component", cbor(bytes(33))),
            "component-20": put("component", cbor(bytes(20))),
            "component-empty": put("component", cbor(b"")),
            "component-hex": put("component", cbor(chain.header["component"])),
            "component-null": put("component", cbor(None)),
            "component-array": put("component", cbor([0] * 32)),
            "incarnation-0": put("incarnation", cbor(0)),
            "incarnation-true": put("incarnation", cbor(True)),
            "incarnation-negative": put("incarnation", b"\x20"),
            "incarnation-text": put("incarnation", cbor("1")),
            "incarnation-null": put("incarnation", cbor(None)),
            "incarnation-not-shortest": put("incarnation", b"\x18\x01"),
            "incarnation-not-shortest-2": put("incarnation", b"\x19\x00\x20"),
            "incarnation-not-shortest-4": put("incarnation", b"\x1a\x00\x00\x01\x00"),
            "incarnation-not-shortest-8": put("incarnation", b"\x1b" + bytes(4) + b"\x00\x01\x00\x00"),
            "incarnation-reserved": put("incarnation", b"\x1c"),
            "incarnation-tagged": put("incarnation", b"\xc0" + big),
            "incarnation-bignum": put("incarnation", b"\xc2\x41\x01"),
            "incarnation-float": put("incarnation", b"\xf9\x3c\x00"),
            "incarnation-break": put("incarnation", b"\xff"),
            "key-extra": write_pairs(sorted([*pairs, (cbor("note"), cbor(None))])),
            "key-renamed": write_pairs([(cbor("mane") if k == cbor("name") else k, v) for k, v in pairs]),
            "key-capital": write_pairs([(cbor("Name") if k == cbor("name") else k, v) for k, v in pairs]),
            "key-bytes": write_pairs([(b"\x44name" if k == cbor("name") else k, v) for k, v in pairs]),
            "key-not-shortest": write_pairs([(b"\x78\x02id" if k == cbor("id") else k, v) for k, v in pairs]),
            "keys-reversed": write_pairs(pairs[::-1]),
            "keys-alphabetical": write_pairs(sorted(pairs, key=lambda pair: pair[0][1:])),
            "keys-last-two-swapped": write_pairs([*pairs[:-2], pairs[-1], pairs[-2]]),
            "key-doubled": write_pairs([pairs[0], *pairs]),
            "key-doubled-last": write_pairs([*pairs, pairs[-1]]),
            "id-doubled-other-first": write_pairs([(pairs[0][0], cbor(STRANGER)), *pairs]),
            "map-indefinite": b"\xbf" + data[1:] + b"\xff",
            "map-length-not-shortest": bytes([0xb8, len(pairs)]) + data[1:],
            "map-length-less": bytes([data[0] - 1]) + data[1:],
            "map-length-more": bytes([data[0] + 1]) + data[1:],
            "map-length-huge": b"\xbb" + b"\xff" * 8 + data[1:],
            "tagged": b"\xc1" + data,
            "self-described": b"\xd9\xd9\xf7" + data,
            "array-of-it": b"\x81" + data,
            "bytes-of-it": cbor(data),
            "text-of-it": b"\x78\x20" + b"x" * 32,
            "empty": b"",
            "null": b"\xf6",
            "empty-map": b"\xa0",
            "zero": b"\0",
            "all-ones": b"\xff",
            "cut": data[:-1],
            "cut-in-half": data[: len(data) // 2],
            "byte-after": data + b"\0",
            "twice": data + data,
            "byte-before": b"\0" + data,
            "json": b'{"id":"' + actor.encode() + b'"}',
            "text-length-huge": put("name", b"\x7b" + b"\x7f" + b"\xff" * 7),
            "bytes-length-huge": put("state", b"\x5b" + b"\xff" * 8),
            "array-length-huge": put("state", b"\x9b" + b"\xff" * 8),
            "nested-100000": b"\x81" * 100000 + b"\0",
            "nested-maps-100000": b"\xa1\x61a" * 100000 + b"\0",
            "nested-in-limits": put("limits", b"\xa1\x61a" + b"\x81" * 50000 + b"\0"),
        }
        for key, _ in pairs:
            word = key[1:].decode()
            if word == "label":
                continue  # which may be absent
            datas[f"key-missing-{word}"] = write_pairs([pair for pair in pairs if pair[0] != key])
        for name, new in datas.items():
            # All variants for the last started event; for an earlier one, only those of fields that name other things.
            if which == "last" or name.startswith(("id-", "component-", "key-")):
                yield f"started-{which}-{name}", made(set_event(index, "data", new))
        if which == "last":
            yield f"started-{which}-component-other", made(set_event(index, "data", put("component", cbor(bytes(32)))))
    both = chain.copy()
    for index in both.starts():
        pairs = read_pairs(both.events[index]["data"])
        upper = cbor(chain.header["actor"].upper())
        both.events[index]["data"] = write_pairs([(k, upper if k == cbor("id") else v) for k, v in pairs])
    both.header["actor"] = chain.header["actor"].upper()
    both.seal()
    if both.header["actor"] != chain.header["actor"]:
        yield "id-and-header-uppercase", both.render()
    for index, (kind, name, data) in enumerate(chain.attachments):
        # No started event names the attachment any more: it names no state, or another component.
        def unname(c, kind=kind, name=name):
            for at in c.starts():
                pairs = read_pairs(c.events[at]["data"])
                if kind == "component":
                    pairs = [(k, cbor(bytes(32)) if v == cbor(name) else v) for k, v in pairs]
                    if c.header["component"] == name.hex():
                        c.header["component"] = "00" * 32
                else:
                    pairs = [(k, cbor(None) if k == cbor("state") and name in v else v) for k, v in pairs]
                c.events[at]["data"] = write_pairs(pairs)
        yield f"attachment-{index}-{kind}-named-no-more", made(unname)


def other_digests(chain):
    """Version 3: other ways to compute the digest of the data, or to hash it."""
    if not chain.events[-1]["salt"]:
        return {"sha256-unsalted": {"digest": lambda data, salt: sha256(data)}}

    def salted(compute):
        return {"digest": lambda data, salt: data_digest(data) if salt is None else compute(data, salt)}

    return {"unsalted": salted(lambda data, salt: sha256(data)), "sha1": salted(lambda data, salt: sha1(data)),
            "salt-last": salted(lambda data, salt: sha256(data + salt)),
            "salt-in-hex": salted(lambda data, salt: sha256(salt.hex().encode() + data)),
            "salted-sha1": salted(lambda data, salt: sha1(salt + data)),
            "digest-in-two-steps": salted(lambda data, salt: sha256(salt + sha256(data))),
            "salt-itself": salted(lambda data, salt: salt + data), "domain-v1": {"domain": b"theater-chain-event-v1\0"},
            "domain-v3": {"domain": b"theater-chain-event-v3\0"}}


def salts(chain):
    """Version 3: events of both versions where they may not be, and lines that keep too little or too much."""
    salted = [index for index, event in enumerate(chain.events) if event["salt"]]
    if not salted:
        other = chain.copy()
        other.events[-1]["salt"] = bytes(16)
        other.seal()
        yield "last-is-salted-in-version-1", other.render()
        other.header["version"] = 2
        yield "last-is-salted-in-version-2", other.render()
        return
    last = len(chain.events) - 1
    for at in [at for at in (salted[0] + 1, last) if at > salted[0]]:
        other = chain.copy()
        other.events[at]["salt"] = None
        other.seal()
        yield f"{at}-older-again", other.render()
        for event in other.events[at:]:
            event["salt"] = None
        other.seal()
        yield f"{at}-older-from-there", other.render()
    other = chain.copy()
    for event in other.events:
        event["salt"] = None
    other.seal()
    yield "none-in-version-3", other.render()
    for version in (1, 2):
        other = chain.copy()
        other.header["version"] = version
        yield f"in-version-{version}", other.render()
    # A line without its data, which is honest, and then changed.
    at = next(index for index in reversed(salted) if chain.events[index]["event_type"] != "started")
    event, line = chain.events[at], line_of(chain.events[at])
    gone = line_of(event, dropped=True)
    digest = data_digest(event["data"], event["salt"]).hex().encode()
    length = b'"data_length":%d' % len(event["data"])
    salt, data = b'"salt":"%s",' % event["salt"].hex().encode(), b'"data":"%s"' % base64.b64encode(event["data"])
    for name, new in {
        "length-less": gone.replace(length, b'"data_length":%d' % (len(event["data"]) - 1)),
        "length-more": gone.replace(length, b'"data_length":%d' % (len(event["data"]) + 1)),
        "length-missing": gone.replace(length + b",", b""),
        "digest-flipped": gone.replace(digest, b"%064x" % (int(digest, 16) ^ 1)),
        "digest-zero": gone.replace(digest, b"0" * 64),
        "digest-short": gone.replace(digest, digest[:40]),
        "digest-uppercase": gone.replace(digest, digest.upper()),
        "digest-unsalted": gone.replace(digest, sha256(event["data"]).hex().encode()),
        "called-sha1": gone.replace(b"data_sha256", b"data_sha1"),
        "as-sha1": gone.replace(b"data_sha256", b"data_sha1").replace(digest, sha1(event["data"]).hex().encode()),
        "salt-kept": gone.replace(length, salt + length),
        "salt-kept-last": gone.replace(b',"timestamp"', b"," + salt + b'"timestamp"'),
        "data-kept": gone.replace(length, data + b"," + length),
        "digest-first": gone.replace(length + b",", b"").replace(b',"timestamp"', b"," + length + b',"timestamp"'),
        "salt-alone-dropped": line.replace(salt, b""),
        "data-alone-dropped": line.replace(data, b'"data":""'),
        "salt-null": line.replace(salt, b'"salt":null,'),
        "salt-after-data": line.replace(salt, b"").replace(b',"timestamp"', b"," + salt + b'"timestamp"'),
        "salt-before-type": line.replace(salt, b"").replace(b'"event_type"', salt + b'"event_type"'),
        "salt-twice": line.replace(salt, salt + salt),
    }.items():
        yield f"{at}-{name}", chain.raw.replace(line, new)
    index = chain.starts()[0]
    yield "start-dropped", chain.raw.replace(line_of(chain.events[index]), line_of(chain.events[index], dropped=True))


def states(chain):
    """Version 2 or 3: the events name a state, and the file attaches another one. The right state is the one that the last event
    up to its own named: a `started`, or a `return` that does not say `unchanged`."""
    calls = [index for index, event in enumerate(chain.events) if event["event_type"].startswith("call ")]
    if not calls:
        return
    dropped = chain.events[calls[0]]

    def made(at, state):
        other = chain.copy()
        other.header["version"] = max(2, other.header["version"])
        other.header["attachments"] += 1
        lines = other.render().replace(line_of(dropped), line_of(dropped, dropped=True)).split(b"\n")[:-1]
        lines.insert(1 + len(other.attachments), state_line(at, state)[:-1])
        return b"\n".join(lines) + b"\n"

    now = None
    for index, event in enumerate(chain.events):
        kind = event["event_type"].split(" ")[0]
        if kind in ("started", "return"):
            named = dict(read_pairs(event["data"]))[cbor("state")]
            now = now if named == cbor("unchanged") else named
        label = f"{index}-{kind}" + ("-unchanged" if kind == "return" and named == cbor("unchanged") else "")
        for name, state in {"none": None, "empty": b"", "forged": b'{"count":1000000}', "large": b"x" * 5000}.items():
            encoded = cbor({"len": len(state), "sha1": sha1(state)} if state and len(state) > 4096 else state)
            if kind not in ("started", "return", "refused") or encoded != now:
                yield f"{label}-{name}", made(index, state)
    yield "behind-the-end", made(len(chain.events), None)


def starts(chain):
    """Sealed: an incarnation begins with a state other than the chain's current one, or with an impossible reason."""
    def made(index, **fields):
        other = chain.copy()
        pairs = read_pairs(other.events[index]["data"])
        other.events[index]["data"] = write_pairs(
            [(key, cbor(fields.get(key[1:].decode())) if key[1:].decode() in fields else value) for key, value in pairs])
        other.seal(index)
        return other.render()

    first, *later = chain.starts()
    if cbor("fork") not in dict(read_pairs(chain.events[first]["data"])):
        for reason in ("restart", "recovery", "upgrade"):
            yield f"first-{reason}", made(first, reason=reason)
    for index in later:
        yield f"{index}-spawn", made(index, reason="spawn")
        yield f"{index}-upgrade-forged", made(index, reason="upgrade", state=b'{"count":1000000}')
        yield f"{index}-upgrade-resumes", made(index, reason="upgrade", resumes=True)
        for reason in ("restart", "recovery"):
            yield f"{index}-{reason}-forged", made(index, reason=reason, state=b'{"count":1000000}')
            yield f"{index}-{reason}-large", made(index, reason=reason, state={"len": 5000, "sha1": sha1(b"x" * 5000)})


GROUPS = {"salts": (salts,), "states": (states,), "starts": (starts,), "raw": (raw_form, raw_spelling, raw_base64, raw_flips), "header": (header_fields,),
          "attachment": (attachments,), "event": (events,), "sealed": (sealed,)}


def variants(raw):
    """All variants of the file `raw`, as {name: bytes}. None equals the file, and no two are equal."""
    chain = Chain(raw)
    assert chain.render() == raw, "the file is not honest"
    found, seen = {}, {raw}
    for group, makers in GROUPS.items():
        for maker in makers:
            for name, content in maker(chain):
                name = f"{group}-{name}"
                assert name not in found, name
                if content not in seen:
                    seen.add(content)
                    found[name] = content
    return found


def main(arguments):
    if len(arguments) != 2:
        print("usage: tamper.py FILE OUTDIR", file=sys.stderr)
        return 2
    out = pathlib.Path(arguments[1])
    out.mkdir(parents=True, exist_ok=True)
    made = variants(pathlib.Path(arguments[0]).read_bytes())
    for name, content in made.items():
        (out / f"{name}.chain").write_bytes(content)
    print(f"{len(made)} variants")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
