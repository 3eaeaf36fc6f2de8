"""What the tests of python-socketio share: a client that keeps what it hears, and a publisher.

GATEWAY_URL  where the gateway listens
SERIALIZER   which parser the clients use: "default", or "msgpack"
"""

import functools
import os
import queue
import uuid

import requests
import socketio

GATEWAY_URL = os.environ["GATEWAY_URL"]
SERIALIZER = os.environ.get("SERIALIZER", "default")
WAIT_S = 5

TRANSPORTS = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}


def publish(event, body, url=GATEWAY_URL):
    reply = requests.post(f"{url}/{event}", json=body, timeout=WAIT_S)
    assert reply.status_code == 200, reply.text
    return reply.json()


class Client:
    """A client that keeps what it hears."""

    def __init__(
        self, transports, url=GATEWAY_URL, auth=None, headers=None, namespace="/", serializer=SERIALIZER
    ):
        self.namespace = namespace
        self.heard = queue.Queue()
        self.gone = queue.Queue()
        self.refused = queue.Queue()
        self.io = socketio.Client(serializer=serializer, reconnection=False, request_timeout=WAIT_S)
        self.io.on("*", self._keep, namespace=namespace)
        self.io.on("disconnect", lambda *reason: self.gone.put(reason), namespace=namespace)
        self.io.on("connect_error", self.refused.put, namespace=namespace)
        self._url, self._auth, self._headers, self._transports = url, auth, headers or {}, transports

    def connect(self):
        self.io.connect(
            self._url,
            headers=self._headers,
            auth=self._auth,
            transports=self._transports,
            namespaces=[self.namespace],
            wait_timeout=WAIT_S,
        )
        return self

    def refusal(self):
        """Connects in vain and returns what the gateway says; None if it lets the client in."""
        try:
            self.connect()
        except socketio.exceptions.ConnectionError:
            return self.refused.get(timeout=WAIT_S)
        self.close()
        return None

    def _keep(self, event, *args):
        self.heard.put((event, args))

    def next(self):
        return self.heard.get(timeout=WAIT_S)

    def ask(self, event, data=None):
        return self.io.call(event, data, namespace=self.namespace, timeout=WAIT_S)

    def close(self):
        self.io.disconnect()


def each_transport(**options):
    """Runs a test once for each transport, with a client that is closed in the end."""

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for name, transports in TRANSPORTS.items():
                with self.subTest(transport=name):
                    client = Client(transports, **options).connect()
                    try:
                        # A name of its own, so that no test hears another one's events.
                        test(self, f"{name}-{uuid.uuid4()}", client)
                    finally:
                        client.close()

        return run

    return decorate
