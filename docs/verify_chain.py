#!/usr/bin/env python3
"""Verify a portable Theater chain file without using the crate.

This program was written from chain-format.md (versions 1 to 3) alone; section numbers refer to that document. It needs
Python 3.9 or later, and only the standard library.

    python3 verify_chain.py FILE        ("-" reads standard input)

Exit status 0: the chain verifies; one line on standard output describes it, and another one the data that was dropped.
Exit status 1: the chain does not verify; one line on standard error names the first wrong line or event, and its fault.
Exit status 2: wrong usage, or the file cannot be read.

The program checks integrity only: unlike the crate, it does not detect a prepared SHA-1 collision (§2).
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

MAX_UINT = 2**64 - 1
MAX_INLINE_STATE = 4096  # §4
MAX_DEPTH = 33  # §4: 32 levels of nesting, and the items inside the last one

WORD_KINDS = {"started", "failed", "stopped"}  # §3
FUNCTION = re.compile(r"[!#-\[\]-~]+")  # §3: printable ASCII without the quote and the backslash
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BOUNDARY_KINDS = {"call", "intent", "host-call", "return", "refused"}  # §3: kinds that name a function
REASONS = {"spawn", "restart", "recovery", "fork"}  # §4
REASONS_3 = REASONS | {"upgrade"}  # §4, version 3


class Wrong(Exception):
    """The file does not verify; the text describes the fault in the current part."""


def quote(text: str) -> str:
    """Text from the file, escaped to fit on one line of ASCII."""
    return ascii(text if len(text) <= 80 else text[:80] + "...")


# ---------------------------------------------------------------------------------------------------------------------
# Lines (§5). Each line has exactly one spelling. A JSON parser would also accept other spellings, so this program matches
# each line piece by piece against the only bytes that are allowed.


def to_uint(raw: bytes) -> int:
    value = int(raw)  # the pattern admits at most 20 digits
    if value > MAX_UINT:
        raise ValueError("does not fit into 64 bits")
    return value


def to_text(raw: bytes) -> str:
    try:
        return raw[1:-1].decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def to_bytes(raw: bytes) -> bytes:
    """Decodes base64. Encoding the result again detects missing padding, and unused bits that are set."""
    try:
        value = base64.b64decode(raw[1:-1], validate=True)
    except ValueError:
        value = None
    if value is None or base64.b64encode(value) != raw[1:-1]:
        raise ValueError("is not base64 in its one spelling")
    return value


def to_hash(raw: bytes) -> Optional[bytes]:
    return None if raw == b"null" else bytes.fromhex(raw[1:-1].decode("ascii"))


class Kind(NamedTuple):
    """A kind of JSON value: its allowed spelling, its decoder, and its name in messages."""

    pattern: re.Pattern[bytes]
    read: Callable[[bytes], Any]
    name: str


UINT = Kind(re.compile(rb"(?:0|[1-9][0-9]{0,19})(?=[,}])"), to_uint, "a plain decimal integer of 64 bits")
TEXT = Kind(re.compile(rb'"[^"\\\x00-\x1f]*"'), to_text, "a string without escapes")
UUID = Kind(re.compile(rb'"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"'), to_text, "a hyphenated lower-case UUID")
HEX16 = Kind(re.compile(rb'"[0-9a-f]{32}"'), to_hash, "32 lower-case hex digits")
HEX20 = Kind(re.compile(rb'"[0-9a-f]{40}"'), to_hash, "40 lower-case hex digits")
HEX32 = Kind(re.compile(rb'"[0-9a-f]{64}"'), to_hash, "64 lower-case hex digits")
HEX20_OR_NULL = Kind(re.compile(rb'null|"[0-9a-f]{40}"'), to_hash, "null or 40 lower-case hex digits")
BASE64 = Kind(re.compile(rb'"[A-Za-z0-9+/]*={0,2}"'), to_bytes, "base64")
BASE64_OR_NULL = Kind(re.compile(rb'null|"[A-Za-z0-9+/]*={0,2}"'), lambda raw: None if raw == b"null" else to_bytes(raw),
                      "null or base64")

Shape = Sequence[Tuple[str, Kind]]

FORMAT: Shape = (("format", TEXT), ("version", UINT))
HEADER: Shape = (*FORMAT, ("actor", UUID), ("component", HEX32), ("attachments", UINT), ("events", UINT),
                 ("head", HEX20))  # §5.1
COMPONENT: Shape = (("component", HEX32), ("data", BASE64))  # §5.2
BLOB: Shape = (("blob", HEX20), ("data", BASE64))  # §5.2
EVENT: Shape = (("sequence", UINT), ("hash", HEX20), ("parent_hash", HEX20_OR_NULL), ("event_type", TEXT),
                ("data", BASE64), ("timestamp", UINT))  # §5.3
DROPPED: Shape = (*EVENT[:4], ("data_length", UINT), ("data_sha1", HEX20), ("timestamp", UINT))  # §5.3
SALTED: Shape = (*EVENT[:4], ("salt", HEX16), *EVENT[4:])  # §5.3, version 3
SALTED_DROPPED: Shape = (*EVENT[:4], ("data_length", UINT), ("data_sha256", HEX32), ("timestamp", UINT))  # §5.3, version 3
STATE: Shape = (("state", UINT), ("data", BASE64_OR_NULL))  # §5.2, from version 2 on
ROW: Shape = (("row", UINT), ("key", BASE64), ("hash", HEX20), ("data", BASE64))  # §5.2, in version 3


def read_line(line: bytes, shape: Shape, whole: bool = True) -> Dict[str, Any]:
    """The fields of a line in its one spelling. If `whole` is false, only the beginning of the line is read."""
    values: Dict[str, Any] = {}
    at = 0
    for key, kind in shape:
        lead = ("," if values else "{") + f'"{key}":'
        if not line.startswith(lead.encode("ascii"), at):
            raise Wrong(f"not in its one spelling: {lead} expected at byte {at}")
        at += len(lead)
        match = kind.pattern.match(line, at)
        if match is None:
            raise Wrong(f"not in its one spelling: {key} is not {kind.name} (byte {at})")
        try:
            values[key] = kind.read(match.group())
        except ValueError as error:
            raise Wrong(f"not in its one spelling: {key} {error} (byte {at})") from None
        at = match.end()
    if whole and line[at:] != b"}\n":
        raise Wrong(f"not in its one spelling: the line should end with }} at byte {at}")
    return values


# ---------------------------------------------------------------------------------------------------------------------
# Data (§4)


class Cbor:
    """A strict decoder of the deterministic CBOR of §4. It refuses any other encoding and any other type."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @classmethod
    def read(cls, data: bytes) -> Any:
        """Decodes `data`, which must be exactly one item."""
        reader = cls(data)
        value = reader.item(MAX_DEPTH)
        if reader.at != len(data):
            raise Wrong(f"data has more than one CBOR item (byte {reader.at})")
        return value

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Wrong(f"data ends within a CBOR item (byte {self.at})")
        self.at += count
        return self.data[self.at - count:self.at]

    def head(self) -> Tuple[int, int]:
        """An item's major type and its argument, which must be in the shortest form."""
        start = self.at
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major in (1, 6) or (major == 7 and info not in (20, 21, 22)):
            raise Wrong(f"data has a CBOR item of a type that may not occur (byte {start})")
        if info < 24:
            return major, info
        if info > 27:
            raise Wrong(f"data has a CBOR item of indefinite or reserved length (byte {start})")
        size = 1 << (info - 24)
        value = int.from_bytes(self.take(size), "big")
        if value < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
            raise Wrong(f"data has a CBOR item not in its shortest form (byte {start})")
        return major, value

    def text(self, length: int) -> str:
        start = self.at
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Wrong(f"data has a CBOR text that is not UTF-8 (byte {start})") from None

    def item(self, depth: int) -> Any:
        if depth == 0:
            raise Wrong(f"data nests CBOR items too deeply (byte {self.at})")
        major, value = self.head()
        if major == 0:
            return value
        if major == 2:
            return self.take(value)
        if major == 3:
            return self.text(value)
        if major == 4:
            items: List[Any] = []
            while len(items) < value:  # a length that is too large reaches the end of the data
                items.append(self.item(depth - 1))
            return items
        if major == 5:
            return self.map(value, depth)
        return {20: False, 21: True, 22: None}[value]

    def map(self, length: int, depth: int) -> Dict[str, Any]:
        entries: Dict[str, Any] = {}
        before = b""
        while len(entries) < length:
            start = self.at
            major, size = self.head()
            if major != 3:
                raise Wrong(f"data has a CBOR map key that is not a text (byte {start})")
            key = self.text(size)
            encoded = self.data[start:self.at]
            if encoded <= before:
                raise Wrong(f"data has a CBOR map key twice or out of order (byte {start})")
            before = encoded
            entries[key] = self.item(depth - 1)
        return entries


def is_uint(value: Any) -> bool:
    return type(value) is int  # not isinstance: a bool is an int to Python


def is_state(value: Any) -> bool:
    """A *state* as §4 defines it."""
    if isinstance(value, dict):
        return (value.keys() == {"len", "sha1"} and is_uint(value["len"]) and value["len"] > MAX_INLINE_STATE
                and isinstance(value["sha1"], bytes) and len(value["sha1"]) == 20)
    return value is None or (isinstance(value, bytes) and len(value) <= MAX_INLINE_STATE)


def is_limits(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_uint, value.values()))


def is_uuid(value: Any) -> bool:
    return isinstance(value, str) and UUID_TEXT.fullmatch(value) is not None


def is_link(value: Any) -> bool:
    """A *link* as §4 defines it."""
    return (isinstance(value, dict) and value.keys() == {"hash", "actor", "sequence"}
            and isinstance(value["hash"], bytes) and len(value["hash"]) == 20
            and is_uuid(value["actor"]) and is_uint(value["sequence"]))


# The keys of a `started` event's data (§4), each with a check of its value.
STARTED: Dict[str, Tuple[Callable[[Any], bool], str]] = {
    "id": (is_uuid, "a UUID"),
    "name": (lambda v: isinstance(v, str), "a text"),
    "state": (is_state, "a state: null, up to 4,096 bytes, or {len, sha1} of a larger one"),
    "limits": (is_limits, "a map of text to unsigned integers"),
    "parent": (lambda v: v is None or is_uuid(v), "a UUID or null"),
    "reason": (lambda v: isinstance(v, str) and v in REASONS_3, "one of " + ", ".join(sorted(REASONS_3))),
    "resumes": (lambda v: isinstance(v, bool), "a boolean"),
    "manifest": (lambda v: isinstance(v, str), "a text"),
    "component": (lambda v: isinstance(v, bytes) and len(v) == 32, "32 bytes"),
    "incarnation": (lambda v: is_uint(v) and v >= 1, "an unsigned integer from 1"),
}


def is_salted(event: Dict[str, Any]) -> bool:
    """Whether the event is of version 3 (§5.3)."""
    return "salt" in event or "data_sha256" in event


def read_started(event: Dict[str, Any]) -> Dict[str, Any]:
    """Decodes the data of a `started` event, which must have exactly these keys, each with its type (§4)."""
    started = Cbor.read(event["data"])
    if not isinstance(started, dict):
        raise Wrong("data is not a map")
    for key, (fits, name) in STARTED.items():
        if key not in started:
            raise Wrong(f"data lacks the key {key}")
        if not fits(started[key]):
            raise Wrong(f"data: {key} is not {name}")
    if started["reason"] == "fork" and not is_link(started.get("fork")):
        raise Wrong("data: fork is not a link, though the reason is fork")
    if not is_salted(event) and started["reason"] not in REASONS:
        raise Wrong(f"data: reason is {started['reason']}, which only an event of version 3 can have")
    optional = ("fork",) if started["reason"] == "fork" else ()
    if is_salted(event):
        optional += ("ended", "label") + (("rows",) if started["reason"] == "fork" else ())
        if "rows" in started and not (isinstance(started["rows"], bytes) and len(started["rows"]) == 32):
            raise Wrong("data: rows is not 32 bytes")
        if started.get("ended", True) is not True:
            raise Wrong("data: ended is not true")
        if not isinstance(started.get("label", ""), str):
            raise Wrong("data: label is not a text")
    for key in started:
        if key not in STARTED and key not in optional:
            raise Wrong(f"data has the key {quote(key)}, which a started event of this version does not have")
    return started


def may_be_given_up(failed: Dict[str, Any]) -> bool:
    """Whether a `failed` event says `interrupted`, or its data was dropped (§5.4)."""
    if "data" not in failed:
        return True
    try:
        said = Cbor.read(failed["data"])
    except Wrong:
        return False
    return (isinstance(said, dict) and said.keys() == {"detail", "reason", "dropped"}
            and isinstance(said["detail"], str) and said["reason"] == "interrupted"
            and isinstance(said["dropped"], list) and all(link is None or is_link(link) for link in said["dropped"]))


# ---------------------------------------------------------------------------------------------------------------------
# The chain


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def event_hash(event: Dict[str, Any]) -> bytes:
    """§2."""
    parent, kind = event["parent_hash"], event["event_type"].encode("utf-8")
    domain, digest = b"theater-chain-event-v1\0", event.get("data_sha1")
    length = event["data_length"] if "data_length" in event else len(event["data"])
    if "salt" in event:
        domain, digest = b"theater-chain-event-v3\0", hashlib.sha256(event["salt"] + event["data"]).digest()
    elif "data_sha256" in event:
        domain, digest = b"theater-chain-event-v3\0", event["data_sha256"]
    elif digest is None:
        digest = sha1(event["data"])
    return sha1(domain
                + event["sequence"].to_bytes(8, "big")
                + (b"\0" if parent is None else b"\1" + parent)
                + event["timestamp"].to_bytes(8, "big")
                + len(kind).to_bytes(4, "big") + kind
                + length.to_bytes(8, "big") + digest)


def is_event_type(text: str) -> bool:
    """§3: a word, or for boundary kinds a word, one space and a function of printable ASCII."""
    word, space, function = text.partition(" ")
    if not space:
        return word in WORD_KINDS
    return word in BOUNDARY_KINDS and FUNCTION.fullmatch(function) is not None


LOST = object()  # a state that no event names, because the data of the event that set it was dropped


def as_named(state: Optional[bytes]) -> Any:
    """A state as an event names it (§4)."""
    if state is not None and len(state) > MAX_INLINE_STATE:
        return {"len": len(state), "sha1": sha1(state)}
    return state


def named_by_return(event: Dict[str, Any]) -> Any:
    """The state after a `return`: a state (§4), the text "unchanged", or LOST."""
    if "data" not in event:
        return LOST
    try:
        returned = Cbor.read(event["data"])
    except Wrong:
        return LOST
    if not isinstance(returned, dict) or returned.keys() - {"deferred"} != {"state", "result"}:
        return LOST
    if "deferred" in returned and not (is_salted(event) and is_uint(returned["deferred"])):
        return LOST
    state = returned["state"]
    return state if state == "unchanged" or is_state(state) else LOST


class Verifier:
    """Verifies a file: it is given the lines in turn, and then the end (§5.4)."""

    def __init__(self) -> None:
        self.number = 0  # the number of the current line
        self.part = "header"  # the kind of the current line, for messages
        self.header: Dict[str, Any] = {}
        self.events = 0
        self.head: Optional[bytes] = None
        self.component: Optional[bytes] = None  # the component of the last started event
        self.incarnation = 0
        self.since = ""  # the events after the last started, as far as the next incarnation's number depends on them
        self.named: Dict[Tuple[bool, bytes], Optional[int]] = {}  # named by started events: (is a blob, hash) -> length
        self.attached: List[Tuple[bool, bytes]] = []  # (is a blob, hash) of each attachment, from the second line on
        self.lengths: List[int] = []  # the lengths of the attachments
        self.dropped = 0
        self.stretches: List[List[int]] = []  # events whose data was dropped: first and last of each stretch
        self.salted = False  # whether an event of version 3 was read
        self.states: Dict[int, Any] = {}  # from version 2 on: attached states in the form of §4, by the sequence of their events
        self.rows: Dict[int, Any] = {}  # in version 3: the digest of the attached rows, by the sequence of their events
        self.row: Optional[Tuple[int, bytes]] = None  # the last attached row: the sequence of its event, and its key
        self.attached_rows = 0
        self.unvouched = 0  # the number of attached states that no event names
        self.initial: Any = None  # the state of the first started event
        self.upgraded: Any = LOST  # the state that an upgrade named which may be taken back (§4.1), or LOST if there is none
        self.now: Any = None  # the state after the events so far, as they name it (§4), or LOST

    def line(self, line: bytes) -> None:
        self.number += 1
        if self.number == 1:
            self.part = "header"
        elif line.startswith(b'{"sequence":'):
            self.part = f"event {self.events}"
        else:
            attachments = (b'{"component":', b'{"blob":', b'{"state":', b'{"row":')
            attachments = attachments[:1 + self.header.get("version", 1)]
            self.part = "attachment" if line.startswith(attachments) else "unknown"
        if not line.endswith(b"\n"):
            raise Wrong("truncated: the line does not end with a line feed")
        if self.number == 1:
            self.read_header(line)
        elif self.part == "attachment":
            self.read_attachment(line)
        elif self.part == "unknown":
            raise Wrong("neither an attachment nor an event in its one spelling")
        else:
            self.read_event(line)

    def read_header(self, line: bytes) -> None:
        begin = read_line(line, FORMAT, whole=False)  # first, because another version may define the rest
        if begin["format"] != "theater-chain":
            raise Wrong(f"format is {quote(begin['format'])}, not 'theater-chain'")
        if begin["version"] not in (1, 2, 3):
            raise Wrong(f"version is {begin['version']}, not 1, 2 or 3")
        self.header = read_line(line, HEADER)

    def read_attachment(self, line: bytes) -> None:
        if self.events:
            raise Wrong("an attachment after an event")
        if line.startswith(b'{"row":'):
            self.read_row(line)
            return
        if self.rows:
            raise Wrong("another attachment after a row")
        if line.startswith(b'{"state":'):
            self.read_state(line)
            return
        if self.states:
            raise Wrong("a component or a blob after a state")
        kind = "blob" if line.startswith(b'{"blob":') else "component"
        fields = read_line(line, BLOB if kind == "blob" else COMPONENT)
        name, data = fields[kind], fields["data"]
        actual = sha1(data) if kind == "blob" else hashlib.sha256(data).digest()
        if actual != name:
            raise Wrong(f"{kind} {name.hex()} has the hash {actual.hex()}")
        rank = (kind == "blob", name)  # components first, then blobs, each in ascending order
        if self.attached and rank <= self.attached[-1]:
            raise Wrong(f"{kind} {name.hex()} stands out of order or twice")
        self.attached.append(rank)
        self.lengths.append(len(data))

    def read_state(self, line: bytes) -> None:
        """From version 2 on: reads the state after an event, from which a replay can begin."""
        fields = read_line(line, STATE)
        if self.states and fields["state"] <= max(self.states):
            raise Wrong(f"state {fields['state']} stands out of order or twice")
        self.states[fields["state"]] = as_named(fields["data"])

    def read_row(self, line: bytes) -> None:
        """In version 3: reads a row of the table that the actor has after an event, from which a replay can begin."""
        fields = read_line(line, ROW)
        place = (fields["row"], fields["key"])
        if self.row is not None and place <= self.row:
            raise Wrong(f"a row after event {fields['row']} stands out of order or twice")
        self.row = place
        self.attached_rows += 1
        self.rows.setdefault(fields["row"], hashlib.sha256()).update(fields["hash"])

    def check_rows(self, event: Dict[str, Any]) -> None:
        """§5.4, 9: rows are attached where a replay can begin, and a fork begins with those that it names."""
        sequence = event["sequence"]
        if sequence > 0:
            if sequence not in self.states and event["event_type"] != "started":
                raise Wrong(f"rows are attached after event {sequence}, where no replay can begin")
        elif read_started(event).get("rows") != self.rows[sequence].digest():
            raise Wrong("it does not begin with the rows that are attached")

    def check_state(self, event: Dict[str, Any]) -> None:
        """§4.1 and §5.4, 8: an attached state must be the one that the events name, if they name one."""
        sequence, kind = event["sequence"], event["event_type"].partition(" ")[0]
        if kind not in ("started", "return", "refused"):
            raise Wrong(f"state {sequence} is attached, but no incarnation begins and no transition ends there")
        if self.now is LOST:
            self.unvouched += 1
        elif self.states[sequence] != self.now:
            raise Wrong(f"state {sequence} is not the state that the events up to it name")

    def check_start(self, started: Dict[str, Any]) -> None:
        """§4.1 and §5.4, 6: a start must begin with the chain's current state, or with one that it may go back to."""
        state, reason = started["state"], started["reason"]
        if self.incarnation == 1:
            if reason not in ("spawn", "fork"):
                raise Wrong(f"it is the first start of its chain, but its reason is {reason}")
            self.initial = state
        elif reason not in ("restart", "recovery", "upgrade"):
            raise Wrong(f"its reason is {reason}, but it is not the first start of its chain")
        elif reason == "upgrade" and started["resumes"]:
            raise Wrong("it is an upgrade, but resumes a transition")
        elif self.now is not LOST and state != self.now:
            back = {"restart": LOST if started["resumes"] else self.initial, "upgrade": self.upgraded}.get(reason, LOST)
            if back is LOST or state != back:
                raise Wrong("it begins with another state than the one that the chain has come to")
        if reason != "recovery":
            self.upgraded = state if reason == "upgrade" else LOST
        self.now = state

    def read_event(self, line: bytes) -> None:
        version = self.header["version"]
        if version > 1 and b',"data_length":' in line:
            event = read_line(line, SALTED_DROPPED if version == 3 and b',"data_sha256":' in line else DROPPED)
            self.dropped += 1
            if self.stretches and self.stretches[-1][1] + 1 == event["sequence"]:
                self.stretches[-1][1] += 1
            else:
                self.stretches.append([event["sequence"], event["sequence"]])
            if event["event_type"] == "started":
                raise Wrong("the data of a started event is dropped")
        else:
            event = read_line(line, SALTED if version == 3 and b',"salt":' in line else EVENT)
        if self.salted and not is_salted(event):
            raise Wrong("it is of version 1, but comes after an event of version 3")
        self.salted = is_salted(event)
        if event["sequence"] != self.events:
            raise Wrong(f"sequence is {event['sequence']}, not {self.events}")
        if not is_event_type(event["event_type"]):
            raise Wrong(f"event_type is {quote(event['event_type'])}, which is no kind")
        if self.events == 0 and event["event_type"] != "started":
            raise Wrong(f"the first event is {quote(event['event_type'])}, not 'started'")
        if event["parent_hash"] != self.head:
            names = [h.hex() if h else "none" for h in (event["parent_hash"], self.head)]
            raise Wrong(f"parent_hash is {names[0]}, but the hash of the event before is {names[1]}")
        actual = event_hash(event)
        if event["hash"] != actual:
            raise Wrong(f"hash is {event['hash'].hex()}, but the event hashes to {actual.hex()}")
        if event["event_type"] == "started":
            started = read_started(event)
            if started["id"] != self.header["actor"]:
                raise Wrong(f"id is {quote(started['id'])}, but the header's actor is {self.header['actor']}")
            ahead = started["incarnation"] - self.incarnation
            if ahead != 1 and not (ahead == 2 and self.since == "given up"):
                raise Wrong(f"incarnation is {started['incarnation']}, but {self.incarnation + 1} is the next")
            self.incarnation = started["incarnation"]
            self.since = "resumes" if started["resumes"] else ""
            self.check_start(started)
            self.component = started["component"]
            self.named[(False, started["component"])] = None
            if isinstance(started["state"], dict):
                self.named[(True, started["state"]["sha1"])] = started["state"]["len"]
        else:
            if event["event_type"].startswith("return "):
                named = named_by_return(event)
                if named != "unchanged":
                    self.now = named
            if self.since == "resumes" and event["event_type"] == "failed" and may_be_given_up(event):
                self.since = "given up"
            elif not (self.since == "given up" and event["event_type"] == "stopped"):
                self.since = ""
        if event["sequence"] in self.states:
            self.check_state(event)
        if event["sequence"] in self.rows:
            self.check_rows(event)
        self.head = actual
        self.events += 1

    def end(self) -> str:
        """Checks what only the whole file can show; returns the line that describes the verified chain."""
        header = self.header
        self.part = "header"
        if self.number == 0:
            raise Wrong("truncated: the file is empty")
        if self.head is None or self.component is None:
            raise Wrong("no event follows")
        attached = len(self.attached) + len(self.states) + self.attached_rows
        if header["attachments"] != attached:
            raise Wrong(f"attachments is {header['attachments']}, but {attached} follow")
        if self.states and max(self.states) >= self.events:
            raise Wrong(f"state {max(self.states)} is attached, but there is no such event")
        if self.rows and max(self.rows) >= self.events:
            raise Wrong(f"rows after event {max(self.rows)} are attached, but there is no such event")
        if header["version"] == 2 and not self.dropped:
            raise Wrong("version is 2, but all data is there")
        if header["version"] == 3 and not self.salted:
            raise Wrong("version is 3, but no event is of version 3")
        if header["events"] != self.events:
            raise Wrong(f"events is {header['events']}, but {self.events} follow")
        if header["head"] != self.head:
            raise Wrong(f"head is {header['head'].hex()}, but the last event's hash is {self.head.hex()}")
        if header["component"] != self.component:
            raise Wrong(f"component is {header['component'].hex()}, but the last started event names "
                        f"{self.component.hex()}")
        for number, (is_blob, name) in enumerate(self.attached, start=2):
            if (is_blob, name) not in self.named:
                self.number, self.part = number, "attachment"
                raise Wrong(f"no started event names the {'blob' if is_blob else 'component'} {name.hex()}")
            if is_blob and self.named[(is_blob, name)] != self.lengths[number - 2]:
                self.number, self.part = number, "attachment"
                raise Wrong(f"blob {name.hex()} has {self.lengths[number - 2]} bytes, not the len named with it")
        said = f"ok: {self.events} events, head {self.head.hex()}, actor {header['actor']}"
        if self.dropped:
            which = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in self.stretches[:8])
            which += ", ..." if len(self.stretches) > 8 else ""
            said += (f"; the data of {self.dropped} of {self.events} events ({which}) was dropped: their hashes are"
                     " verified, what they said is not")
        if self.unvouched:
            said += f"; {self.unvouched} attached states are named by no event: nothing can be built upon them"
        return said


def verify(lines: Iterable[bytes]) -> str:
    """Verify the lines of a file, each with its line feed. Raises `Wrong` with the complete message."""
    verifier = Verifier()
    try:
        for line in lines:
            verifier.line(line)
        return verifier.end()
    except Wrong as wrong:
        if verifier.part == "header":
            verifier.number = 1
        raise Wrong(f"line {verifier.number} ({verifier.part}): {wrong}") from None


def main(arguments: List[str]) -> int:
    if len(arguments) != 1 or (arguments[0].startswith("-") and arguments[0] != "-"):
        print("usage: verify_chain.py FILE   (- for standard input)", file=sys.stderr)
        return 2
    try:
        # Read bytes, because lines end only at a line feed.
        with open(0 if arguments[0] == "-" else arguments[0], "rb") as stream:
            said = verify(stream)
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        print(f"cannot read {quote(arguments[0])}: {ascii(str(error) or type(error).__name__)}", file=sys.stderr)
        return 2
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
