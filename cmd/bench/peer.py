#!/usr/bin/env python3
"""What people write instead: looks everyone of a CSV up, anonymizes and verifies, eight at a time, and keeps
each outcome: peer.py sqlite|csv SERVER PEOPLE.csv OUT. It waits for no rate, retries nothing and goes on from nothing."""
import csv, json, sqlite3, sys, threading
from concurrent.futures import ThreadPoolExecutor

import requests

how, server, people, out = sys.argv[1:]
place, own, lock = server + "/v4.1/anonymize.json", threading.local(), threading.Lock()
if how == "sqlite":
    db = sqlite3.connect(out, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE outcomes (subject_id TEXT PRIMARY KEY, email TEXT, outcome TEXT)")
else:
    file = open(out, "w", newline="")
    rows = csv.writer(file)


def call(method, email):
    if not hasattr(own, "session"):
        own.session = requests.Session()
        own.session.headers["Authorization"] = "api_key bench"
    args = {"params": {"email": email}} if method == "GET" else {"data": {"email": email}}
    answer = own.session.request(method, place, timeout=30, **args)
    answer.raise_for_status()
    return json.loads(answer.text).get("total")


def forget(row):
    outcome = "not_found"
    if call("GET", row["email"]):
        call("POST", row["email"])
        outcome = "erased" if not call("GET", row["email"]) else "still_present"
    with lock:
        if how == "sqlite":
            db.execute("INSERT INTO outcomes VALUES (?, ?, ?)", (row["subject_id"], row["email"], outcome))
            db.commit()
        else:
            rows.writerow((row["subject_id"], row["email"], outcome))
            file.flush()


with open(people, newline="") as f, ThreadPoolExecutor(8) as pool:
    for _ in pool.map(forget, csv.DictReader(f)):
        pass
