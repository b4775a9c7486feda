#!/usr/bin/env python3
"""verify.py CERTIFICATE VKEY: checks an expunge certificate with python3 and openssl alone, by steps 1 to 3 and 5
of the specification (`expunge help certificates`). Exit 0: valid and done; 3: something is open; 65: not valid."""
import base64, hashlib, json, subprocess, sys, tempfile
def sha(b): return hashlib.sha256(b).digest()
def b64(s): return base64.b64decode(s, validate=True)
def need(ok, what):
    if not ok: print("NOT VALID:", what); sys.exit(65)
def signed(key, message, signature):
    """Ed25519, by openssl: the 12 bytes are the head of such a key in DER."""
    with tempfile.TemporaryDirectory() as d:
        for name, data in (("k", bytes.fromhex("302a300506032b6570032100") + key), ("m", message), ("s", signature)):
            with open(f"{d}/{name}", "wb") as f: f.write(data)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", d + "/k",
            "-rawin", "-in", d + "/m", "-sigfile", d + "/s"], capture_output=True).returncode == 0
def root(leaf, index, size, path): # RFC 9162, 2.1.3.2
    h, fn, sn = sha(b"\0" + leaf), index, size - 1
    for p in path:
        if sn == 0: return None
        if fn & 1 or fn == sn:
            h = sha(b"\1" + p + h)
            while not fn & 1 and fn: fn, sn = fn >> 1, sn >> 1
        else: h = sha(b"\1" + h + p)
        fn, sn = fn >> 1, sn >> 1
    return h if sn == 0 else None
def main(file, vkey):
    with open(file, "rb") as f: raw = f.read()
    cert = json.loads(raw)
    name, hash_, key = vkey.strip().split("+", 2)
    key = b64(key)[1:]
    need(signed(key, raw[:raw.rindex(b'"seal"')], b64(cert["seal"])), "the seal")
    leaves, heads = [], set()
    for text in cert["proofs"]:
        proof, head = text.split("\n\n", 1)
        kind, extra, index, *path = proof.split("\n")
        need(kind == "c2sp.org/tlog-proof@v1", "a proof's format")
        heads.add(head)
        body, signatures = head.split("\n\n")
        origin, size, top = body.split("\n")[:3]
        need(origin.rsplit("/", 1)[0] == name, "the log's name")
        index, leaf = int(index.removeprefix("index ")), b64(extra.removeprefix("extra "))
        need(index < int(size) and root(leaf, index, int(size), [b64(p) for p in path]) == b64(top), f"the path of event {index + 1}")
        leaves.append((index + 1, json.loads(leaf)))
    need(len(heads) == 1, "one head")
    lines = [b64(s.split(" ")[2]) for s in signatures.splitlines() if s.split(" ")[1] == name]
    need(any(s[:4].hex() == hash_ and signed(key, (body + "\n").encode(), s[4:]) for s in lines), "the head's signature")
    need(leaves[0][1]["event"] == "received", "the receipt")
    last, own, tasks = {"-": leaves[0][0]}, {leaves[0][0]}, leaves[0][1]["tasks"]
    ends = {t["task"]: "skipped" for t in tasks if t.get("skipped")}
    for seq, l in leaves[1:]:
        need(l["prev"] == last[l["task"]] if l["task"] in last else l["prev"] in own, f"the event before event {seq}")
        last[l["task"]] = seq
        if l["task"] == "-": own.add(seq); tasks = l.get("tasks", tasks)
        elif l["event"] != "exported": ends[l["task"]] = l["event"]
    print(leaves[0][1]["subject"], origin, size, {t["task"]: ends.get(t["task"], "open") for t in tasks})
    return 0 if all(ends.get(t["task"]) in ("erased", "not_found", "skipped") for t in tasks) else 3
try: sys.exit(main(*sys.argv[1:]))
except (ValueError, KeyError, IndexError, TypeError) as e: need(False, f"not a certificate ({e!r})")
