"""A receiver of listlens' webhooks: verifies each delivery, and applies each event once.

Usage: WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py [PORT]

Needs `pip install standardwebhooks`; libraries for other languages: https://www.standardwebhooks.com
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BYTES = 2**20
SECRET = os.environ.get("WEBHOOK_SECRET", "")
if not SECRET.startswith("whsec_"):
    sys.exit(
        "Set WEBHOOK_SECRET to the secret of the endpoint, whsec_..., which is the last line of\n"
        "    listlens webhooks add http://127.0.0.1:8100/\n"
        "for this receiver: private = [\"127.0.0.1\"] in [fetch] of listlens.toml lets it be told."
    )
WEBHOOK = Webhook(SECRET)
SEEN = sqlite3.connect("received.db", check_same_thread=False)
SEEN.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY)")
SEEN.execute("CREATE TABLE IF NOT EXISTS tag (photo TEXT, task TEXT, tag TEXT)")
ONE = threading.Lock()  # deliveries come on several connections at once


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it took, 400 to what was not signed by listlens."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        n_bytes = int(self.headers.get("Content-Length") or 0)
        if not 0 < n_bytes <= MAX_BYTES:
            self.answer(413)
            return
        body = self.rfile.read(n_bytes)
        try:
            event = WEBHOOK.verify(body, dict(self.headers))  # signature, and age at most 5 minutes
        except WebhookVerificationError:
            self.answer(400)
            return
        with ONE:
            apply_once(self.headers["webhook-id"], event)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status >= 400:
            self.close_connection = True  # its body may be unread
        self.end_headers()


def apply_once(message_id: str, event: dict) -> None:
    """Store the tags of a photo; the same delivery again changes nothing."""
    with SEEN:  # all of it, or nothing
        new = SEEN.execute("INSERT OR IGNORE INTO seen VALUES (?)", (message_id,)).rowcount
        if not new or event["type"] != "photo.predicted":
            return
        data = event["data"]
        photo = f"{data['listing_id']}/{data['photo_id']}"
        SEEN.execute("DELETE FROM tag WHERE photo = ?", (photo,))
        for task, answer in data["results"].items():
            said = answer["prediction"]  # a list where a photo may have any number of tags
            rows = [(photo, task, tag) for tag in (said if isinstance(said, list) else [said])]
            SEEN.executemany("INSERT INTO tag VALUES (?, ?, ?)", rows)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8100
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
