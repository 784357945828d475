#!/usr/bin/env python3
"""Write the golden vectors of the chain format, from docs/chain-format.md alone.

    python3 tests/vectors/make_vectors.py [OUTDIR]      (default: the directory of this file)

Writes `events.json` and `salted.json` (single events of versions 1 and 3 with their hashes) and the `*.chain` files
(honest, all of them). Deterministic: run twice, it writes the same bytes. Shares no code with the crate, nor with
docs/verify_chain.py.
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


def preimage(sequence, parent, event_type, data, timestamp, salt=None):
    """What is hashed. `parent`: 20 bytes or None. `event_type`: text, or bytes for what is not UTF-8. `salt`: 16 bytes in
    version 3."""
    kind = event_type if isinstance(event_type, bytes) else event_type.encode("utf-8")
    parts = [b"theater-chain-event-v1" if salt is None else b"theater-chain-event-v3", bytes(1)]
    parts.append(struct.pack(">Q", sequence))
    parts += [bytes([0])] if parent is None else [bytes([1]), parent]
    parts += [struct.pack(">QI", timestamp, len(kind)), kind, struct.pack(">Q", len(data))]
    parts.append(data_digest(data, salt))
    return b"".join(parts)


def data_digest(data, salt=None):
    return sha1(data) if salt is None else hashlib.sha256(salt + data).digest()


def event_hash(*fields):
    return sha1(preimage(*fields))


def header_line(header):
    return (
        '{"format":"%s","version":%d,"actor":"%s","component":"%s","attachments":%d,"events":%d,"head":"%s"}\n'
        % tuple(header[key] for key in ("format", "version", "actor", "component", "attachments", "events", "head"))
    ).encode("utf-8")


def attachment_line(kind, name, data):
    return b'{"%s":"%s","data":"%s"}\n' % (kind.encode(), name.hex().encode(), base64.b64encode(data))


def event_line(sequence, digest, parent, event_type, data, timestamp, salt=None, dropped=False):
    kind = event_type if isinstance(event_type, bytes) else event_type.encode("utf-8")
    if dropped:
        name = b"data_sha1" if salt is None else b"data_sha256"
        body = b'"data_length":%d,"%s":"%s"' % (len(data), name, data_digest(data, salt).hex().encode())
    else:
        body = b"" if salt is None else b'"salt":"%s",' % salt.hex().encode()
        body += b'"data":"%s"' % base64.b64encode(data)
    return b'{"sequence":%d,"hash":"%s","parent_hash":%s,"event_type":"%s",%s,"timestamp":%d}\n' % (
        sequence,
        digest.hex().encode(),
        b"null" if parent is None else b'"%s"' % parent.hex().encode(),
        kind,
        body,
        timestamp,
    )


def state_line(sequence, state):
    return b'{"state":%d,"data":%s}\n' % (
        sequence, b"null" if state is None else b'"%s"' % base64.b64encode(state))


def salt_of(sequence):
    """A salt for a vector. A real one is drawn at random."""
    return hashlib.sha256(b"a salt that everybody knows" + struct.pack(">Q", sequence)).digest()[:16]


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
    assert fields.keys() <= value.keys() | {"fork", "label"}
    value.update(fields)
    return cbor(value)


def chain(steps, components=(), blobs=(), actor=ACTOR, salted_from=None, dropped=(), states=()):
    """A portable file. `steps`: (event_type, data, timestamp); `components`, `blobs`: the bytes to attach; `salted_from`:
    the first event of version 3; `dropped`: the events without their data; `states`: (event, state) to attach."""
    events, parent, component = [], None, None
    for sequence, (event_type, data, timestamp) in enumerate(steps):
        salt = None if salted_from is None or sequence < salted_from else salt_of(sequence)
        digest = event_hash(sequence, parent, event_type, data, timestamp, salt)
        events.append((sequence, digest, parent, event_type, data, timestamp, salt, sequence in dropped))
        parent = digest
        if event_type == "started":
            at = data.index(b"\x69component\x58\x20") + 12  # only one in the data made above
            component = data[at : at + 32]
    lines = [attachment_line("component", name, data)
             for name, data in sorted((hashlib.sha256(data).digest(), data) for data in components)]
    lines += [attachment_line("blob", name, data) for name, data in sorted((sha1(data), data) for data in blobs)]
    lines += [state_line(sequence, state) for sequence, state in states]
    version = 3 if salted_from is not None else 2 if dropped else 1
    header = {"format": "theater-chain", "version": version, "actor": actor, "component": component.hex(),
              "attachments": len(lines), "events": len(events), "head": parent.hex()}
    return b"".join([header_line(header), *lines, *(event_line(*event) for event in events)])


HANDLE = "ntwk:theater/http-server.handle-request"
SEND = "ntwk:theater/message-server.send"
INIT = "ntwk:theater/actor.init"
NOW = "ntwk:theater/timing.now"
GET_CHAIN = "ntwk:theater/runtime.get-chain"


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
    called = {"cause": None, "fresh": False, "caller": "runtime", "params": None}
    salted = [
        ("started", started(first, state=state(large), label="alice"), t),
        ("call " + INIT, cbor({**called, "fresh": True, "params": [large[:9], []]}), t + 1),
        ("host-call f.set-timer", cbor({"answer": None, "params": ["tick", 5], "result": None}), t + 2),
        ("intent f.ask", cbor({"to": OTHER, "params": ["root/bob", b"?"]}), t + 2),
        ("host-call f.ask", cbor({"answer": link, "result": {"ok": b"!"}}), t + 3),
        ("host-call f.get", cbor({"answer": None, "digest": hashlib.sha256(bytes(20)).digest(), "params": ["key"]}), t + 3),
        ("host-call " + GET_CHAIN,
         cbor({"answer": None, "params": None, "result": {"bare": [[1, 1], [3, 4]], "upto": 6, "first": 0}}), t + 3),
        ("return " + INIT, cbor({"state": small, "result": None}), t + 4),
        ("call f.handle-timer", cbor({**called, "of": 2, "round": 0, "caller": "timer", "params": ["tick"]}), t + 9),
        ("refused f.handle-timer", cbor({"message": "not now"}), t + 9),
        ("call " + HANDLE, cbor({**called, "caller": "http", "params": [None]}), t + 10),
        ("host-call f.defer", cbor({"answer": None, "params": None, "result": 11}), t + 10),
        ("return " + HANDLE, cbor({"state": "unchanged", "result": None, "deferred": 11}), t + 10),
        ("call f.handle-reply", cbor({**called, "of": 3, "cause": link, "caller": "actor"}), t + 11),
        ("intent f.reply", cbor({"of": 11, "to": OTHER, "params": [11, b"{}"]}), t + 11),
        ("host-call f.reply", cbor({"answer": None, "result": {"ok": None}}), t + 12),
        ("host-call f.push-chunk", cbor({"of": 12, "to": OTHER, "answer": None, "params": [12], "result": None}), t + 12),
        ("return f.handle-reply", cbor({"state": state(larger), "result": None}), t + 12),
        ("started", started(second, state=state(larger), reason="upgrade", incarnation=2, label="alice"), t + 13),
        ("call f.migrate", cbor({**called, "fresh": True}), t + 13),
        ("return f.migrate", cbor({"state": b"migrated", "result": None}), t + 13),
        ("call " + HANDLE, cbor({**called, "caller": "http", "params": [None]}), t + 14),
        ("failed", cbor({"detail": "unreachable", "reason": "trap", "dropped": [None, link]}), t + 14),
        ("started", started(first, state=state(larger), reason="upgrade", incarnation=3), t + 15),
        ("stopped", cbor({"by": "operator", "cause": None, "dropped": []}), t + 16),
    ]
    return {
        "salted.chain": chain(salted, (first, second), (large, larger), salted_from=0),
        "mixed.chain": chain(counter, (first, second), (large, larger), salted_from=7),
        # Data of either version was dropped. The state attached after event 2 is named by it, that after event 9 by none.
        "dropped.chain": chain(counter, salted_from=6, dropped=(1, 3, 4, 6, 7, 9, 11, 14), states=((2, small), (9, small))),
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


def events_json(salted):
    rows = []
    for name, sequence, parent, event_type, data, repeat, timestamp in make_events():
        salt = salt_of(sequence) if salted else None
        fields = (sequence, parent, event_type, data * repeat, timestamp, salt)
        rows.append({
            "name": name,
            "sequence": sequence,
            "parent_hash": parent and parent.hex(),
            "event_type": event_type,
            "data_hex": data.hex(),  # the data is these bytes ...
            "data_repeat": repeat,  # ... so many times over
            "timestamp": timestamp,
            "hash": event_hash(*fields).hex(),
        })
        if salted:
            rows[-1]["salted"] = {"salt": salt.hex(), "data_sha256": data_digest(data * repeat, salt).hex(),
                                  "preimage_hex": preimage(*fields).hex()}
    return ("[\n" + ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows) + "\n]\n").encode("ascii")


def main(arguments):
    out = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parent
    out.mkdir(parents=True, exist_ok=True)
    made = {"events.json": events_json(False), "salted.json": events_json(True), **make_chains()}
    for name, content in made.items():
        (out / name).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])
