#!/usr/bin/env python3
"""Write the golden vectors of the chain format, from docs/chain-format.md alone.

    python3 tests/vectors/make_vectors.py [OUTDIR]      (default: the directory of this file)

Writes `events.json` (single events with their hashes) and the `*.chain` files (honest, all of them). Deterministic:
run twice, it writes the same bytes. Shares no code with the crate, nor with docs/verify_chain.py.
"""

import base64
import hashlib
import json
import pathlib
import struct
import sys

ACTOR = "6f1d2c3b-4a59-4687-8877-665544332211"
OTHER = "00000000-0000-4000-8000-000000000001"
U64_MAX = 2**64 - 1


def cbor(value):
    """Deterministic CBOR of None, bool, int >= 0, str, bytes, list and dict with str keys."""
    if value is None:
        return b"\xf6"
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode("utf-8")
        return cbor_head(3, len(raw)) + raw
    if isinstance(value, list):
        return cbor_head(4, len(value)) + b"".join(cbor(item) for item in value)
    pairs = sorted((cbor(key), cbor(item)) for key, item in value.items())
    return cbor_head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def cbor_head(major, argument):
    for info, form, limit in ((24, ">B", 2**8), (25, ">H", 2**16), (26, ">I", 2**32), (27, ">Q", 2**64)):
        if argument < 24:
            return bytes([major << 5 | argument])
        if argument < limit:
            return bytes([major << 5 | info]) + struct.pack(form, argument)
    raise ValueError(argument)


def event_hash(sequence, parent, event_type, data, timestamp):
    """`parent`: 20 bytes or None. `event_type`: text, or bytes for what is not UTF-8."""
    kind = event_type if isinstance(event_type, bytes) else event_type.encode("utf-8")
    sha = hashlib.sha1(usedforsecurity=False)
    sha.update(b"theater-chain-event-v1" + bytes(1))
    sha.update(struct.pack(">Q", sequence))
    if parent is None:
        sha.update(bytes([0]))
    else:
        sha.update(bytes([1]))
        sha.update(parent)
    sha.update(struct.pack(">QI", timestamp, len(kind)))
    sha.update(kind)
    sha.update(struct.pack(">Q", len(data)))
    sha.update(hashlib.sha1(data, usedforsecurity=False).digest())
    return sha.digest()


def header_line(header):
    return (
        '{"format":"%s","version":%d,"actor":"%s","component":"%s","attachments":%d,"events":%d,"head":"%s"}\n'
        % tuple(header[key] for key in ("format", "version", "actor", "component", "attachments", "events", "head"))
    ).encode("utf-8")


def attachment_line(kind, name, data):
    return b'{"%s":"%s","data":"%s"}\n' % (kind.encode(), name.hex().encode(), base64.b64encode(data))


def event_line(sequence, digest, parent, event_type, data, timestamp):
    kind = event_type if isinstance(event_type, bytes) else event_type.encode("utf-8")
    return b'{"sequence":%d,"hash":"%s","parent_hash":%s,"event_type":"%s","data":"%s","timestamp":%d}\n' % (
        sequence,
        digest.hex().encode(),
        b"null" if parent is None else b'"%s"' % parent.hex().encode(),
        kind,
        base64.b64encode(data),
        timestamp,
    )


def sha1(data):
    return hashlib.sha1(data, usedforsecurity=False).digest()


def state(data):
    """A *state* of §4."""
    return data if data is None or len(data) <= 4096 else {"len": len(data), "sha1": sha1(data)}


def started(component, **fields):
    value = {
        "id": ACTOR,
        "name": "counter",
        "state": None,
        "limits": {"memory-bytes": 16777216, "fuel": 1000000000},
        "parent": None,
        "reason": "spawn",
        "resumes": False,
        "manifest": 'name = "counter"\n# \u00e9t\u00e9 \u2713\n',
        "component": hashlib.sha256(component).digest(),
        "incarnation": 1,
    }
    assert fields.keys() <= value.keys() | {"fork"}
    value.update(fields)
    return cbor(value)


def chain(steps, components=(), blobs=(), actor=ACTOR):
    """A portable file. `steps`: (event_type, data, timestamp); `components`, `blobs`: the bytes to attach."""
    events, parent, component = [], None, None
    for sequence, (event_type, data, timestamp) in enumerate(steps):
        digest = event_hash(sequence, parent, event_type, data, timestamp)
        events.append((sequence, digest, parent, event_type, data, timestamp))
        parent = digest
        if event_type == "started":
            at = data.index(b"\x69component\x58\x20") + 12  # only one in the data made above
            component = data[at : at + 32]
    lines = [attachment_line("component", name, data)
             for name, data in sorted((hashlib.sha256(data).digest(), data) for data in components)]
    lines += [attachment_line("blob", name, data) for name, data in sorted((sha1(data), data) for data in blobs)]
    header = {"format": "theater-chain", "version": 1, "actor": actor, "component": component.hex(),
              "attachments": len(lines), "events": len(events), "head": parent.hex()}
    return b"".join([header_line(header), *lines, *(event_line(*event) for event in events)])


HANDLE = "ntwk:theater/http-server.handle-request"
SEND = "ntwk:theater/message-server.send"
INIT = "ntwk:theater/actor.init"
NOW = "ntwk:theater/timing.now"


def make_chains():
    first = b"\0asm\x01\0\0\0" + b"the first component that never was"
    second = b"\0asm\x01\0\0\0" + b"the second, after an upgrade"
    small, large, larger = b"\x01", b"\x02" * 4097, bytes(range(256)) * 20 + b"\xff"
    link = {"hash": sha1(b"some event"), "actor": OTHER, "sequence": 7}
    t = 1700000000000
    counter = [
        ("started", started(first, state=state(large)), t),
        ("call " + INIT, cbor({"cause": None, "fresh": True, "caller": "runtime", "params": [large[:9], []]}), t + 2),
        ("return " + INIT, cbor({"state": small, "result": None}), t + 3),
        ("call " + HANDLE, cbor({"cause": link, "fresh": False, "caller": "actor",
                                 "params": [{"method": "GET", "uri": "/\u00fc", "body": None}]}), t + 10),
        ("host-call " + NOW, cbor({"answer": None, "params": [], "result": t + 11}), t + 11),
        ("intent " + SEND, cbor({"params": [OTHER, b"\xff\xfe"]}), t + 11),
        ("host-call " + SEND, cbor({"answer": link, "result": {"ok": None}}), t + 12),
        ("return " + HANDLE, cbor({"state": state(larger), "result": {"status": 200, "body": b"\0\x01"}}), t + 13),
        ("call " + HANDLE, cbor({"cause": None, "fresh": False, "caller": "http", "params": [None]}), t + 14),
        ("refused " + HANDLE, cbor({"message": "no: \u201cnull\u201d"}), t + 15),
        ("call " + HANDLE, cbor({"cause": link, "fresh": False, "caller": "actor", "params": [False]}), t + 16),
        ("failed", cbor({"detail": "unreachable", "reason": "trap", "dropped": [None, link]}), t + 17),
        ("started", started(second, state=state(larger), reason="restart", incarnation=2, parent=OTHER), t + 5),
        ("call " + HANDLE, cbor({"cause": None, "fresh": True, "caller": "management", "params": [True]}), t + 6),
        ("return " + HANDLE, cbor({"state": "unchanged", "result": None}), t + 20),
        ("stopped", cbor({"by": "operator", "cause": None, "dropped": []}), t + 21),
    ]
    edges = [
        ("started", started(first, id=OTHER, state=b"\x7f" * 4096, limits={}, name="", manifest=""), U64_MAX),
        ("call ~!#$%&'()*+,-./:;<=>?@[]^_`{|}", b"", 0),
        ("return f", b"\xff not CBOR: only started is read", 2**63),
        ("started", started(first, id=OTHER, state=b"", reason="recovery", resumes=True, incarnation=2,
                            limits={"a": 0, "b": 23, "c": 24, "d": 255, "e": 256, "f": 65535, "g": 65536,
                                    "h": 2**32 - 1, "i": 2**32, "j": U64_MAX, "k" * 24: 1, "l" * 256: 2},
                            name="\u821e" * 22000), 1),
    ]
    return {
        "counter.chain": chain(counter, (first, second), (large, larger)),
        "bare.chain": chain(counter),  # the same, without attachments
        "one.chain": chain([("started", started(first, reason="fork", fork=link), t)], (first,)),
        "edges.chain": chain(edges, actor=OTHER),
    }


def make_events():
    """(name, sequence, parent, event_type, bytes, how often they are repeated, timestamp)"""
    parent = bytes(range(0xA0, 0xB4))
    t = 1700000000000
    component = b"\0asm\x01\0\0\0"
    return [
        ("started", 0, None, "started", started(component), 1, t),
        ("started again", 12, parent, "started", started(component, reason="restart", incarnation=2), 1, t),
        ("call", 1, parent, "call " + INIT,
         cbor({"cause": None, "fresh": True, "caller": "runtime", "params": []}), 1, t),
        ("intent", 2, parent, "intent " + SEND, cbor({"params": [OTHER, b"\x00\xff"]}), 1, t),
        ("host-call", 3, parent, "host-call " + NOW, cbor({"answer": None, "params": [], "result": t}), 1, t),
        ("return", 4, parent, "return " + INIT, cbor({"state": "unchanged", "result": None}), 1, t),
        ("refused, non-ASCII text", 5, parent, "refused " + HANDLE, cbor({"message": "\u201c\u00fc\u201d \u821e"}), 1, t),
        ("failed", 6, parent, "failed", cbor({"detail": "", "reason": "deadline", "dropped": []}), 1, t),
        ("stopped", 7, parent, "stopped", cbor({"by": "parent", "cause": None, "dropped": [None]}), 1, t),
        ("nothing but zeros", 0, None, "started", b"", 1, 0),
        ("no parent after 0, only hashed", 1, None, "failed", b"", 1, 1),
        ("a parent of zeros", 0, bytes(20), "failed", b"", 1, 1),
        ("2^63", 2**63, parent, "stopped", b"\x80", 1, 2**63),
        ("2^64-1", U64_MAX, b"\xff" * 20, "stopped", b"\xff", 1, U64_MAX),
        ("every byte", 9, parent, "return f", bytes(range(256)), 1, t),
        ("65,537 bytes", 10, parent, "return f", b"\xab", 65537, t),
        ("a repeated pattern, about 1 MiB", 11, parent, "return f", b"theater\n!", 116510, t),
        ("function of every kind of character", 8, parent, "call ~!#$%&'()*+,-./:;<=>?@[]^_`{|}", b"\xa0", 1, t),
    ]


def events_json():
    rows = []
    for name, sequence, parent, event_type, data, repeat, timestamp in make_events():
        rows.append({
            "name": name,
            "sequence": sequence,
            "parent_hash": parent and parent.hex(),
            "event_type": event_type,
            "data_hex": data.hex(),  # the data is these bytes ...
            "data_repeat": repeat,  # ... so many times over
            "timestamp": timestamp,
            "hash": event_hash(sequence, parent, event_type, data * repeat, timestamp).hex(),
        })
    return ("[\n" + ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows) + "\n]\n").encode("ascii")


def main(arguments):
    out = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parent
    out.mkdir(parents=True, exist_ok=True)
    for name, content in {"events.json": events_json(), **make_chains()}.items():
        (out / name).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])
