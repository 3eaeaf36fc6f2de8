#!/usr/bin/env python3
"""A tiny REST backend: a table of rows in SQLite, and an event for every change of a row.

    GET /rows         every row
    PUT /rows/<id>    {"name", "quantity", "version"}; 409 if somebody else was faster

The event is written to the table `outbox` in the same transaction as the row. Behind the commit a
thread sends it to the gateway, again and again until the gateway has taken it. So no change is ever
committed without its event, and no event tells of a change that was not committed. An event may be
sent twice; its `id` makes the gateway emit it once.

Settings (environment): PORT (8000), DATABASE (rows.db beside this file), GATEWAY (http://localhost:4000), PUBLISH_KEY, and
PUBLIC_GATEWAY, where browsers find the gateway, if that is another address than the backend's.
"""

import json
import os
import sqlite3
import sys
import threading
import urllib.error
import urllib.request
import uuid
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GATEWAY = os.environ.get("GATEWAY", "http://localhost:4000")
PUBLIC_GATEWAY = os.environ.get("PUBLIC_GATEWAY", GATEWAY)
PUBLISH_KEY = os.environ.get("PUBLISH_KEY")
DATABASE = os.environ.get("DATABASE") or Path(__file__).with_name("rows.db")
PORT = int(os.environ.get("PORT", "8000"))
PAGE = Path(__file__).with_name("index.html")

RETRY_S = 1
BODY_BYTES_MAX = 10_000

# The gateway is a neighbour: no proxy of the environment stands in between.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Wakes the publisher. Only a hint: what is to be sent is in the database.
committed = threading.Event()


def connect():
    database = sqlite3.connect(DATABASE, timeout=10)
    database.row_factory = sqlite3.Row
    return database


def create_tables():
    with closing(connect()) as database, database:
        database.executescript(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS rows (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL, quantity INTEGER NOT NULL, version INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS outbox (
                number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, body TEXT NOT NULL);
            """
        )
        if database.execute("SELECT count(*) FROM rows").fetchone()[0] == 0:
            fruit = [("Apples", 12), ("Pears", 7), ("Plums", 30)]
            database.executemany("INSERT INTO rows (name, quantity, version) VALUES (?, ?, 1)", fruit)


def all_rows():
    with closing(connect()) as database:
        return [dict(row) for row in database.execute("SELECT * FROM rows ORDER BY id")]


def update_row(row_id, name, quantity, version):
    """Returns the new row, or None if the row has another version by now (or does not exist)."""
    with closing(connect()) as database, database:
        changed = database.execute(
            "UPDATE rows SET name = ?, quantity = ?, version = version + 1 WHERE id = ? AND version = ?",
            (name, quantity, row_id, version),
        )
        if changed.rowcount == 0:
            return None
        row = dict(database.execute("SELECT * FROM rows WHERE id = ?", (row_id,)).fetchone())
        body = {"id": str(uuid.uuid4()), "rooms": "rows", "payload": row}
        database.execute("INSERT INTO outbox (event, body) VALUES (?, ?)", ("row:update", json.dumps(body)))
    committed.set()
    return row


def publish_forever():
    while True:
        committed.clear()
        try:
            with closing(connect()) as database:
                waiting = database.execute("SELECT * FROM outbox ORDER BY number").fetchall()
                for number, event, body in waiting:
                    publish(event, body)
                    with database:
                        database.execute("DELETE FROM outbox WHERE number = ?", (number,))
        except (OSError, sqlite3.Error) as error:
            print(f"not published, trying again: {error}", file=sys.stderr, flush=True)
            committed.wait(RETRY_S)
            continue
        committed.wait()


def publish(event, body):
    """One POST. Raises OSError if it has to be repeated."""
    headers = {"Content-Type": "application/json"}
    if PUBLISH_KEY:
        headers["Authorization"] = f"Bearer {PUBLISH_KEY}"
    request = urllib.request.Request(f"{GATEWAY}/{event}", body.encode(), headers)
    try:
        with http.open(request, timeout=10) as answer:
            print(event, body, answer.read().decode(), flush=True)
    except urllib.error.HTTPError as refused:
        text = refused.read().decode()
        # 409, 429 and 503 pass; so does a missing or wrong key, once somebody has corrected it.
        if refused.code in (401, 403, 408, 409, 429) or refused.code >= 500:
            raise OSError(f"{refused.code} {text}") from refused
        # The event itself is at fault. It would be refused for ever, and hold up the others.
        print(f"dropped {event} {body}: {text}", file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":
            page = PAGE.read_text(encoding="utf-8").replace("http://localhost:4000", PUBLIC_GATEWAY)
            self.answer(200, page.encode(), "text/html; charset=utf-8")
        elif self.path == "/rows":
            self.answer_json(200, all_rows())
        else:
            self.answer_json(404, {"error": "there are / and /rows"})

    def do_PUT(self):
        # A page elsewhere cannot send JSON without asking first, and this backend never says yes.
        if self.headers.get_content_type() != "application/json":
            return self.answer_json(415, {"error": "send application/json"})
        try:
            row_id = int(self.path.removeprefix("/rows/"))
            length = int(self.headers["Content-Length"])
            if not 0 <= length <= BODY_BYTES_MAX:
                raise ValueError("the body is too large")
            row = json.loads(self.rfile.read(length))
            fields = str(row["name"]).strip(), int(row["quantity"]), int(row["version"])
        except (ValueError, TypeError, KeyError) as error:
            return self.answer_json(400, {"error": f"PUT /rows/<id> with name, quantity, version: {error!r}"})
        changed = update_row(row_id, *fields)
        if changed is None:
            return self.answer_json(409, {"error": "somebody else has changed this row"})
        return self.answer_json(200, changed)

    def answer_json(self, status, value):
        self.answer(status, json.dumps(value).encode(), "application/json")

    def answer(self, status, body, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    try:
        server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    except OSError as error:
        sys.exit(f"cannot listen on port {PORT}, set PORT to another one: {error.strerror}")
    create_tables()
    threading.Thread(target=publish_forever, daemon=True).start()
    print(f"the page: http://localhost:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
