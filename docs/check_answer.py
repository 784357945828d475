"""Asks an actor over HTTP, waits for the proof of its answer, and checks it. Usage: check_answer.py PUBLIC-KEY URL [BODY]
It needs Python's standard library and ed25519.py beside it, and is written from proofs.md alone."""
import base64, hashlib, json, re, sys, time, urllib.error, urllib.parse, urllib.request
from ed25519 import is_signature
sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()

def entry(actor, event):
    """The entry of a leaf, and the data of the event if it is there."""
    data = base64.b64decode(event["data"]) if "data" in event else None
    length = event["data_length"] if data is None else len(data)
    digest = bytes.fromhex(event["data_sha256"]) if data is None else sha256(bytes.fromhex(event["salt"]), data)
    kind, parent = event["event_type"].encode(), event["parent_hash"]
    numbers = event["sequence"].to_bytes(8, "big") + event["timestamp"].to_bytes(8, "big")
    chain = (b"\0" if parent is None else b"\1" + bytes.fromhex(parent)) + bytes.fromhex(event["hash"])
    return b"\3" + bytes.fromhex(actor.replace("-", "")) + numbers + chain + len(kind).to_bytes(2, "big") + kind + \
        length.to_bytes(8, "big") + digest, data
def root(found, index, size, path):
    """Follows the path from the hash of a leaf, as RFC 9162 (section 2.1.3.2) has it."""
    last = size - 1
    for step in path:
        assert last > 0, "the path is too long"
        is_right = index & 1 or index == last
        found = sha256(b"\1", step, found) if is_right else sha256(b"\1", found, step)
        while is_right and not index & 1 and index:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    assert last == 0, "the path is too short"
    return found
def spelled(said):
    """The whole body as CBOR spells it: its length, and then its bytes."""
    length = len(said)
    code, count = (64 + length, 0) if length < 24 else (88, 1) if length < 256 else (89, 2) if length < 65536 else (90, 4)
    return bytes([code]) + (length.to_bytes(count, "big") if count else b"") + said
def check(proof, public):
    """Checks a proof, and returns the origin, the index, the event and the data of that, which may be none."""
    (name, identity, key), (head, text, signatures) = public.split("+", 2), proof.strip("\n").split("\n\n")
    (_, extra, index, *path), (origin, size, signed_root) = head.split("\n"), text.split("\n")
    mine = [base64.b64decode(line.split(" ")[2]) for line in signatures.split("\n") if line.startswith(f"— {name} ")]
    mine = [signature[4:] for signature in mine if signature[:4].hex() == identity]
    assert mine and is_signature(base64.b64decode(key)[1:], (text + "\n").encode(), mine[0]), "the log has not signed it"
    actor, line = base64.b64decode(extra.split(" ")[1]).decode().strip().split("\n")
    event, index, path = json.loads(line), int(index.split(" ")[1]), [base64.b64decode(step) for step in path]
    leaf, data = entry(actor, event)
    assert root(sha256(b"\0", leaf), index, int(size), path) == base64.b64decode(signed_root), "the event is not in the tree"
    return origin, index, event, data
def main(public, url, body=None):
    answer = urllib.request.urlopen(url, body and body.encode())
    said, header = answer.read(), dict(re.findall(r'(\w+)="?([^",]*)', answer.headers["Theater-Proof"]))
    proof, text = urllib.parse.urljoin(url, f"/.well-known/theater/proof/{header['index']}?token={header['token']}"), None
    while text is None:
        try:
            text = urllib.request.urlopen(proof).read().decode()
        except urllib.error.HTTPError as error:
            assert error.code == 425, f"{error.code}: {error.read().decode()}"
            time.sleep(float(error.headers["Retry-After"]))
    origin, index, event, data = check(text, public)
    assert [origin, str(index), event["hash"]] == [header[name] for name in ("origin", "index", "event")], "another's proof"
    assert data is None or said and spelled(said) in data, "the event does not hold the answer"
    print(f"event {index} of {origin} {'holds the answer' if data else 'is in the tree; its data was not shown'}")
if __name__ == "__main__":
    main(*sys.argv[1:])
