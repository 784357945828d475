#!/usr/bin/env python3
"""Read and check the log of a Theater journal without using the crate.

This program was written from journal.md ("The log", "The mark", "The standing sum", "Large parts") and chain-format.md
(section 2) alone. It needs Python 3.9 or later, and only the standard library.

    python3 read_log.py [--quiet] DIRECTORY        (the data directory, which has the file journal.mark)
    python3 read_log.py [--quiet] SEGMENT          (one segment of a log, such as an archive has)

Of a segment alone, the first event of each chain in it cannot be checked: that needs the hash of the event before it. Nor
can its standing sums: they need the rows of all segments before it.

It prints one line for each event: position, actor, sequence, timestamp, type, hash, and what is written with it.

Exit status 0: the log is whole; the last line on standard output describes it.
Exit status 1: it is not; one line on standard error names the place, and what is wrong there.
Exit status 2: wrong usage, or there is no log that can be read.
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

HEADER, TRAILER, BATCH = 84, 72, 88
EVENT, NAME, BLOB, STATE, ENDED, SURVIVED, FORGOTTEN, DROPPED, ROW, PAUSED = range(1, 11)
NAMES_STATE, KEEPS, ENDS, BEGINS, OWES, SETTLES, SALTED, KEYED = 1, 2, 4, 8, 16, 32, 64, 128
STORED, PART_BYTES, PART_TEXT = b"\xd9\x54\x48", b"\xd9\x54\x62", b"\xd9\x54\x74"  # tags 21576, 21602, 21620
OLD_BYTES, OLD_TEXT = b"\xd9\x54\x42", b"\xd9\x54\x54"  # tags 21570, 21588: of parts without a salt


class Wrong(Exception):
    """Something is not what was written."""


# ---------------------------------------------------------------------------------------------------------------------
# Numbers and checksums


def crc_table() -> List[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Reader:
    """Reads from one place in some bytes to another."""

    def __init__(self, data: bytes, at: int = 0, end: Optional[int] = None) -> None:
        self.data = data
        self.at = at
        self.limit = len(data) if end is None else end

    def take(self, length: int) -> bytes:
        if self.at + length > self.limit:
            raise Wrong("it ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 2**64 or (shift and not byte):
                    break
                return value
        raise Wrong("a number is not in its shortest form")

    def text(self) -> str:
        return utf8(self.take(self.number()))

    def end(self, what: str) -> None:
        if self.at != self.limit:
            raise Wrong(f"{what} says more than it has")


def utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Wrong("a text is not UTF-8") from None


class Tip(NamedTuple):
    """How far the log has come."""

    batch: int
    position: int
    digest: bytes
    sum: bytes


START = Tip(0, 0, bytes(20), bytes(16))


def read_tip(read: Reader) -> Tip:
    return Tip(read.u64(), read.u64(), read.take(20), read.take(16))


# ---------------------------------------------------------------------------------------------------------------------
# The data of an event, with its large parts put back


def put_back(data: bytes, blobs: Dict[bytes, Optional[bytes]]) -> Optional[bytes]:
    """The data that the hash covers. None if a part was dropped."""
    if not data.startswith(STORED):
        return data
    read = Reader(data)
    read.take(3)
    whole = bytearray()
    while read.at < len(data):
        begin = read.at
        mark = data[begin : begin + 3]
        if mark in (PART_BYTES, PART_TEXT, OLD_BYTES, OLD_TEXT):
            read.take(3)
            if read.take(1) != b"\x54":
                raise Wrong("a large part has no SHA-1")
            name = read.take(20)
            if name not in blobs:
                raise Wrong(f"the large part {name.hex()} is not in the segment")
            part = blobs[name]
            if part is None:
                return None
            if mark in (PART_BYTES, PART_TEXT):
                if len(part) < 16:
                    raise Wrong(f"the large part {name.hex()} has no salt")
                part = part[16:]
            whole += cbor_head(2 if mark in (PART_BYTES, OLD_BYTES) else 3, len(part)) + part
        else:
            first = read.take(1)[0]
            major, value = first >> 5, first & 31
            if value >= 24:
                if value > 27:
                    raise Wrong("the data of an event is not deterministic CBOR")
                value = int.from_bytes(read.take(1 << (value - 24)), "big")
            if major in (2, 3):
                read.take(value)
            whole += data[begin : read.at]
    return bytes(whole)


def cbor_head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    size = next(size for size in range(4) if value < 1 << (8 << size))
    return bytes([major << 5 | 24 + size]) + value.to_bytes(1 << size, "big")


def event_hash(sequence: int, parent: Optional[bytes], timestamp: int, kind: str, length: int, digest: bytes) -> bytes:
    """chain-format.md, section 2. The digest of the data is a SHA-1 in version 1, and a SHA-256 in version 3."""
    return hashlib.sha1(
        (b"theater-chain-event-v1\0" if len(digest) == 20 else b"theater-chain-event-v3\0")
        + sequence.to_bytes(8, "big")
        + (b"\0" if parent is None else b"\1" + parent)
        + timestamp.to_bytes(8, "big")
        + len(kind.encode()).to_bytes(4, "big")
        + kind.encode()
        + length.to_bytes(8, "big")
        + digest
    ).digest()


# ---------------------------------------------------------------------------------------------------------------------
# Records and batches


class Record(NamedTuple):
    at: int
    kind: int
    essence: bytes
    covered: bytes
    payload: Optional[bytes]  # None if it was dropped; then these are the length and the digest that are left
    length: int
    digest: bytes


def read_record(read: Reader) -> Record:
    at = read.at
    kind = read.take(1)[0]
    essence = read.take(read.number())
    covered = read.data[at : read.at]
    length = read.number()
    if length & 1:
        return Record(at, kind, essence, covered, None, length >> 1, read.take(read.take(1)[0]))
    return Record(at, kind, essence, covered, read.take(length >> 1), length >> 1, b"")


class Batch(NamedTuple):
    records: List[Record]
    tip: Tip
    end: int


def read_batch(data: bytes, at: int, segment: int, journal: bytes, before: Tip) -> Batch:
    """The batch at a place in a segment, if it checks and follows."""
    read = Reader(data[at : at + BATCH])
    if read.take(4) != b"TBat":
        raise Wrong("no batch begins here")
    length = read.u32()
    belongs = (read.u32(), read.take(8))
    read.u32()  # the epoch of the realm's owner
    number, first, events, count = read.u64(), read.u64(), read.u32(), read.u32()
    standing, digest, crc = read.take(16), read.take(20), read.u32()
    end = at + BATCH + length
    if end > len(data):
        raise Wrong("a batch ends too early")
    if crc32c(data[at : at + BATCH - 4] + data[at + BATCH : end]) != crc:
        raise Wrong("the checksum of a batch does not fit")
    if belongs != (segment, journal[:8]):
        raise Wrong("a batch is of another segment or journal")
    if (number, first) != (before.batch + 1, before.position + 1):
        raise Wrong("a batch does not follow the one before it")
    records = []
    read = Reader(data, at + BATCH, end)
    while read.at < end:
        records.append(read_record(read))
    rolling = hashlib.sha1(before.digest + b"".join(record.covered for record in records)).digest()
    found = sum(record.kind == EVENT for record in records)
    if (rolling, found, len(records)) != (digest, events, count):
        raise Wrong("the records of a batch are not those that its digest vouches for")
    return Batch(records, Tip(number, first + events - 1, digest, standing), end)


# ---------------------------------------------------------------------------------------------------------------------
# The standing sum

LANDMARKS = {"started": 0, "failed": 1, "return ntwk:theater/actor.init": 2}
NOWHERE = 2**64 - 1


def big(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


class Begins(NamedTuple):
    id: bytes
    attempts: int
    path: str


class Said(NamedTuple):
    """What an event says of the rows."""

    actor: int
    sequence: int
    position: int
    kind: str
    hash: bytes
    flags: int
    begins: Optional[Begins]
    owes: Optional[Tuple[bytes, str]]  # the receiver and the notice
    settles: List[Tuple[bytes, int]]
    key: Optional[bytes]


class Row:
    """A row of the table of actors."""

    def __init__(self, begins: Begins, position: int) -> None:
        self.alive = self.listed = True
        self.attempts, self.path, self.position = begins.attempts, begins.path, position

    def columns(self, actor: int) -> bytes:
        flags = bytes([self.alive]), bytes([self.listed])
        return big(actor) + flags[0] + big(self.attempts) + flags[1] + big(self.position) + self.path.encode()


class Sums:
    """The rows that an index of the log has, and their sum."""

    def __init__(self) -> None:
        self.sum = 0
        self.parts: Dict[Tuple[int, Any], int] = {}  # by the number of the table and the key of the row
        self.ids: Dict[int, bytes] = {}
        self.states: Dict[int, int] = {}  # where the event that led to the newest state stands
        self.actors: Dict[int, Row] = {}
        self.own: Dict[bytes, Set[Tuple[bytes, int]]] = {}  # what an actor owes itself, by its UUID
        self.kept: Dict[int, Set[int]] = {}

    def set(self, table: int, key: Any, columns: Optional[bytes]) -> None:
        """Puts a row in the place of the one that has this key; none removes it."""
        part = 0
        if columns is not None:
            part = int.from_bytes(hashlib.sha1(bytes([table]) + columns).digest()[:16], "big")
        self.sum = (self.sum - self.parts.pop((table, key), 0) + part) % 2**128
        if columns is not None:
            self.parts[table, key] = part

    def event(self, said: Said) -> None:
        actor, sequence, position = said.actor, said.sequence, said.position
        if said.flags & NAMES_STATE:
            self.states[actor] = position
        state = self.states.get(actor, NOWHERE)
        self.set(1, actor, big(actor, position, sequence) + said.hash + big(state))
        if said.begins:
            self.ids[actor] = said.begins.id
            self.actors[actor] = Row(said.begins, position)
            self.row(actor)
        if said.kind in LANDMARKS:
            code = LANDMARKS[said.kind]
            self.set(4, (actor, code, sequence), big(actor) + bytes([code]) + big(sequence, position))
        if said.key:
            self.set(6, (said.key, actor, sequence), said.key + big(actor, sequence, position))
        if said.flags & KEEPS:
            self.keep(actor, sequence, NOWHERE)
        for cause in said.settles:
            self.set(3, cause, None)
            self.own.get(cause[0], set()).discard(cause)
        if said.owes:
            id, (receiver, notice) = self.id_of(actor), said.owes
            if receiver == id:
                self.own.setdefault(id, set()).add((id, sequence))
            texts = f"{uuid.UUID(bytes=id)}{uuid.UUID(bytes=receiver)}{notice or '-'}"
            self.set(3, (id, sequence), big(sequence, position) + texts.encode())
        if said.flags & ENDS:
            self.end(actor)

    def id_of(self, actor: int) -> bytes:
        if actor not in self.ids:
            raise Wrong(f"actor {actor} has not begun")
        return self.ids[actor]

    def row(self, actor: int) -> None:
        if actor in self.actors:
            self.set(2, actor, self.actors[actor].columns(actor))

    def keep(self, actor: int, sequence: int, segment: int) -> None:
        self.kept.setdefault(actor, set()).add(sequence)
        self.set(5, (actor, sequence), big(actor, sequence, segment))

    def end(self, actor: int) -> None:
        if actor in self.actors:
            self.actors[actor].alive = False
        self.row(actor)
        for cause in self.own.pop(self.ids.get(actor, b""), ()):
            self.set(3, cause, None)

    def survived(self, actor: int) -> None:
        if actor in self.actors:
            self.actors[actor].attempts = 0
        self.row(actor)

    def forgotten(self, actor: int) -> None:
        if actor in self.actors:
            self.actors[actor].listed = False
        self.row(actor)
        self.paused(actor, False)

    def paused(self, actor: int, is_paused: bool) -> None:
        self.set(7, actor, big(actor) if is_paused else None)

    def dropped(self, actor: int, begin: int, upto: int) -> None:
        gone = {sequence for sequence in self.kept.get(actor, ()) if begin <= sequence < upto}
        for sequence in gone:
            self.set(5, (actor, sequence), None)
        self.kept.get(actor, set()).difference_update(gone)


# ---------------------------------------------------------------------------------------------------------------------
# The log


def read_header(data: bytes) -> Tuple[int, bytes, Tip]:
    """Number, journal, and how far the log had come before the segment."""
    read = Reader(data)
    if read.take(7) != b"THEALOG":
        raise Wrong("it is no segment of a log")
    if read.take(1) not in (b"5", b"6", b"7"):
        raise Wrong("it is a segment of a format that this program does not know (it knows 5 to 7)")
    header = read.u32(), read.take(16), read_tip(read)
    if read.u32() != crc32c(data[: HEADER - 4]):
        raise Wrong("the checksum of its header does not fit")
    return header


class Log:
    """What was read so far."""

    def __init__(self, quiet: bool, is_part: bool = False) -> None:
        self.quiet = quiet
        self.is_part = is_part  # it begins somewhere in the log, and in the chains
        self.tip = START
        self.tips = {0: START}  # by the number of the batch
        self.journal: Optional[bytes] = None
        self.chains: Dict[int, Tuple[int, bytes, int]] = {}  # of the last event: sequence, hash, position
        self.salted: Set[int] = set()  # the actors whose last event is salted
        self.sums = Sums()
        self.dropped = 0
        self.notes: List[str] = []

    def segment(self, path: str, number: int, is_last: bool) -> None:
        with open(path, "rb") as file:
            data = file.read()
        stated, journal, before = read_header(data)
        if stated != number:
            raise Wrong(f"it is the segment {stated}, under another's name")
        if self.journal not in (None, journal):
            raise Wrong("it is a segment of another journal")
        if self.is_part:
            self.tip = before
        elif before != self.tip:
            raise Wrong("it does not go on where the segment before it ends")
        self.journal = journal
        contents = Contents(self.tip.position + 1)
        at = HEADER
        while True:
            try:
                batch = read_batch(data, at, number, self.journal, self.tip)
            except Wrong as fault:
                if self.is_footer(data, at, contents):
                    return
                if not is_last:
                    raise Wrong(f"behind byte {at}: {fault}") from None
                written = len(data[at:].rstrip(b"\0"))
                if written:
                    self.notes.append(f"{path}: {written} bytes behind byte {at} are no batch ({fault})")
                return
            for record in batch.records:
                try:
                    self.record(record, contents, number)
                except Wrong as fault:
                    raise Wrong(f"at byte {record.at}: {fault}") from None
            if not self.is_part and self.sums.sum.to_bytes(16, "big") != batch.tip.sum:
                raise Wrong(f"the standing sum of batch {batch.tip.batch} is not what the records come to")
            at, self.tip = batch.end, batch.tip
            self.tips[self.tip.batch] = self.tip

    def is_footer(self, data: bytes, at: int, contents: Contents) -> bool:
        """Whether the footer stands at `at`. Raises if it does, and is wrong."""
        if len(data) - at < TRAILER or data[-4:] != b"TEnd":
            return False
        read = Reader(data[-TRAILER:])
        length, crc, _generation, after = read.u32(), read.u32(), read.u32(), read_tip(read)
        if read.u32() != crc32c(data[-TRAILER:-8]) or (at + length + TRAILER, after) != (len(data), self.tip):
            return False
        directory = data[at : at + length]
        if crc32c(directory) != crc:
            raise Wrong("the checksum of its directory does not fit")
        contents.compare(directory)
        return True

    def record(self, record: Record, contents: Contents, segment: int) -> None:
        read = Reader(record.essence)
        if record.kind == EVENT:
            self.event(record, read, contents)
        elif record.kind == NAME:
            if read.number() != len(contents.names):
                raise Wrong("the names of types are not in order")
            contents.names.append(utf8(read.take(len(record.essence) - read.at)))
        elif record.kind == BLOB:
            name = read.take(20)
            if read.take(1)[0] > 1:
                raise Wrong("a flag is neither 0 nor 1")
            self.check_payload(record, name)
            contents.blobs[name] = record.payload
            contents.blob_places[name] = record.at
        elif record.kind == STATE:
            key = (read.number(), read.number())
            if read.at < len(record.essence):
                self.check_payload(record, read.take(20))
            if read.at < len(record.essence) and read.take(1) != b"\1":
                raise Wrong("a state without a salt says so")
            contents.states[key] = record.at
            self.sums.keep(*key, segment)
        elif record.kind == ENDED:
            self.sums.end(read.number())
        elif record.kind == SURVIVED:
            self.sums.survived(read.number())
        elif record.kind == FORGOTTEN:
            self.sums.forgotten(read.number())
        elif record.kind == PAUSED:
            actor, is_paused = read.number(), read.take(1)[0]
            if is_paused > 1:
                raise Wrong("a flag is neither 0 nor 1")
            self.sums.paused(actor, bool(is_paused))
        elif record.kind == DROPPED:
            actor, begin, upto, _last = (read.number() for _ in range(4))
            self.sums.dropped(actor, begin, upto)
        elif record.kind == ROW:
            _actor, _written, _closed = (read.number() for _ in range(3))
            read.take(20)
            self.check_payload(record, read.take(20))
            self.check_row(record)
        else:
            raise Wrong("a record is of no known kind")
        if record.kind in (NAME, ENDED, SURVIVED, FORGOTTEN, PAUSED, DROPPED) and record.payload != b"":
            raise Wrong("a record has a payload, and its kind has none")
        read.end("a record")

    @staticmethod
    def check_row(record: Record) -> None:
        if record.payload is None:
            return
        read = Reader(record.payload)
        read.take(16)
        has_value = read.take(1)[0]
        read.take(read.number())
        if has_value > 1 or (has_value == 0 and read.at < len(record.payload)):
            raise Wrong("a row without a value has one")

    @staticmethod
    def check_payload(record: Record, name: bytes) -> None:
        if record.payload is not None and hashlib.sha1(record.payload).digest() != name:
            raise Wrong(f"the payload is not {name.hex()}")

    def event(self, record: Record, read: Reader, contents: Contents) -> None:
        position = contents.first + len(contents.events)
        contents.events.append(record.at)
        actor, sequence, back, timestamp, code, flags = (read.number() for _ in range(6))
        if code >= len(contents.names):
            raise Wrong("the type of an event has no name")
        kind, hash = contents.names[code], read.take(20)
        said = read_flags(Said(actor, sequence, position, kind, hash, flags, None, None, [], None), read)
        is_known = not self.is_part or actor in self.chains or sequence == 0
        last_sequence, parent, last_position = self.chains.get(actor, (-1, None, position))
        if is_known and (sequence, back) != (last_sequence + 1, position - last_position):
            raise Wrong(f"event {sequence} of actor {actor} does not follow event {last_sequence}")
        salted = bool(flags & SALTED)
        if salted:
            self.salted.add(actor)
        elif actor in self.salted:
            raise Wrong(f"event {sequence} of actor {actor} is not salted, but an event before it is")
        if record.payload is None:
            self.dropped += 1
            length, digest = record.length, record.digest
        else:
            salt, stored = record.payload[: 16 * salted], record.payload[16 * salted :]
            if len(salt) != 16 * salted:
                raise Wrong(f"the salt of event {sequence} of actor {actor} is too short")
            data = put_back(stored, contents.blobs)
            if data is None:
                raise Wrong(f"a large part of event {sequence} of actor {actor} was dropped")
            length, digest = len(data), (hashlib.sha256(salt + data) if salted else hashlib.sha1(data)).digest()
        if len(digest) != (32 if salted else 20):
            raise Wrong(f"the digest of the data of event {sequence} of actor {actor} has another length")
        if is_known and event_hash(sequence, parent, timestamp, kind, length, digest) != hash:
            raise Wrong(f"event {sequence} of actor {actor} does not hash to {hash.hex()}")
        self.chains[actor] = (sequence, hash, position)
        if not self.is_part:
            self.sums.event(said)
        if not self.quiet:
            words = ",".join(flag_words(said) + ["dropped"] * (record.payload is None)) or "-"
            print(position, actor, sequence, timestamp, kind.replace(" ", ":"), hash.hex(), words)

    def check_mark(self, mark: Mark) -> None:
        """The mark must not say more than the log has, nor something else."""
        journal, batch, position, digest, durability, boot = mark
        if self.journal not in (None, journal):
            raise Wrong("it is the mark of another journal")
        if self.tip.batch < batch:
            if durability == "relaxed" and boot != this_boot():
                self.notes.append(f"{position - self.tip.position} events were lost with the power, under `relaxed`")
                return
            raise Wrong(f"the log ends at position {self.tip.position}, but {position} was acknowledged")
        tip = self.tips.get(batch)
        if tip is None or (tip.position, tip.digest) != (position, digest):
            raise Wrong(f"the log disagrees with its mark at position {position}")


def read_flags(said: Said, read: Reader) -> Said:
    if said.flags >= 2 * KEYED:
        raise Wrong("an event has a flag of no known meaning")
    begins, owes, settles = None, None, []
    if said.flags & BEGINS:
        begins = Begins(read.take(16), read.number(), read.text())
    if said.flags & OWES:
        owes = read.take(16), read.text()
    if said.flags & SETTLES:
        settles = [(read.take(16), read.number()) for _ in range(read.number())]
    key = read.take(16) if said.flags & KEYED else None
    return said._replace(begins=begins, owes=owes, settles=settles, key=key)


def flag_words(said: Said) -> List[str]:
    names = ((NAMES_STATE, "names-state"), (KEEPS, "keeps"), (ENDS, "ends"), (SALTED, "salted"))
    words = [word for flag, word in names if said.flags & flag]
    if said.begins:
        words.append(f"begins={said.begins.id.hex()}/{said.begins.attempts}/{said.begins.path}")
    if said.owes:
        words.append(f"owes={said.owes[0].hex()}/{said.owes[1] or 'message'}")
    words += [f"settles={cause.hex()}/{sequence}" for cause, sequence in said.settles]
    return words + ([f"key={said.key.hex()}"] if said.key else [])


class Contents:
    """What a segment has, and where: what its directory must say."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.events: List[int] = []
        self.names: List[str] = []
        self.blobs: Dict[bytes, Optional[bytes]] = {}
        self.blob_places: Dict[bytes, int] = {}
        self.states: Dict[Tuple[int, int], int] = {}

    def compare(self, directory: bytes) -> None:
        read = Reader(directory)
        first = read.u64()
        events = [read.u32() for _ in range(read.number())]
        names = [read.text() for _ in range(read.number())]
        blobs = [(read.take(20), read.u32()) for _ in range(read.number())]
        states = [((read.number(), read.number()), read.u32()) for _ in range(read.number())]
        read.end("a directory")
        found: Any = (self.first, self.events, self.names, sorted(self.blob_places.items()), sorted(self.states.items()))
        if (first, events, names, blobs, states) != found:
            raise Wrong("its directory is not what its records say")


class Mark(NamedTuple):
    journal: bytes
    batch: int
    position: int
    digest: bytes
    durability: str
    boot: str


def read_mark(path: str) -> Mark:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise Wrong("the file is missing") from None
    marks = [mark for at in range(0, len(data), 256) if (mark := read_line(data[at : at + 256]))]
    if not marks:
        raise Wrong("neither of its two lines is intact")
    return max(marks, key=lambda mark: mark.batch)


def read_line(line: bytes) -> Optional[Mark]:
    try:
        body, checksum = line.decode("utf-8").rstrip().rsplit(" ", 1)
        name, version, journal, batch, position, digest, durability, boot = body.split(" ")
        if hashlib.sha1(body.encode()).hexdigest() != checksum or (name, version) != ("theater-mark", "2"):
            return None
        return Mark(bytes.fromhex(journal), int(batch), int(position), bytes.fromhex(digest), durability, boot)
    except ValueError:
        return None


def this_boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def segments(directory: str) -> List[Tuple[int, str]]:
    found = []
    for name in os.listdir(directory):
        digits, dot, ending = name.partition(".")
        if (dot, ending) == (".", "log") and len(digits) >= 8 and digits.isdecimal():
            found.append((int(digits), os.path.join(directory, name)))
    return sorted(found)


def is_only_begun(path: str) -> bool:
    """Whether a segment has no header, and nothing behind the place of one."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        read_header(data)
    except Wrong:
        return not any(data[HEADER:])
    return False


def read_alone(path: str, quiet: bool) -> str:
    log = Log(quiet, is_part=True)
    with Named(path):
        with open(path, "rb") as file:
            number, _journal, before = read_header(file.read(HEADER))
        log.segment(path, number, is_last=False)
    return (f"whole: segment {number}, positions {before.position + 1} to {log.tip.position} ({log.dropped} dropped), "
            f"{len(log.chains)} chains, digest {log.tip.digest.hex()}")


def read_all(directory: str, quiet: bool) -> str:
    log = Log(quiet)
    found = segments(os.path.join(directory, "log"))
    # The mark is read before the segments: a runtime at work moves both on, and the log has what the mark says.
    with Named(os.path.join(directory, "journal.mark")) as mark_path:
        mark = read_mark(mark_path)
    begun = found[-1:] if found and found[-1][0] == len(found) and is_only_begun(found[-1][1]) else []
    for _number, path in begun:
        log.notes.append(f"{path} was only begun")
    found = found[: len(found) - len(begun)]
    for expected, (number, path) in enumerate(found, 1):
        with Named(path):
            if number != expected:
                raise Wrong(f"the segment {expected} before it is missing")
            log.segment(path, number, number == found[-1][0])
    with Named(mark_path):
        log.check_mark(mark)
    for note in log.notes:
        print(f"note: {note}")
    return (f"whole: {len(log.chains)} chains, {log.tip.position} events ({log.dropped} dropped), {log.tip.batch} batches, "
            f"{len(found) + len(begun)} segments, digest {log.tip.digest.hex()}")


class Named:
    """What is wrong within it is wrong with this file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, _kind: Any, fault: Any, _trace: Any) -> None:
        if isinstance(fault, Wrong):
            raise Wrong(f"{self.path}: {fault}") from None


def main(arguments: List[str]) -> int:
    quiet = arguments[:1] == ["--quiet"]
    if len(arguments) != 1 + quiet:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    read = read_alone if os.path.isfile(arguments[-1]) else read_all
    try:
        print(read(arguments[-1], quiet))
    except OSError as error:
        print(f"read_log.py: {error}", file=sys.stderr)
        return 2
    except Wrong as fault:
        print(f"read_log.py: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
