"""The python-socketio client with serializer="msgpack".

GATEWAY_URL  where the gateway listens; namespaces "/" and "/shop", events "entity" and "news"
TOKEN_URL    a second gateway that checks tokens
TOKEN        a token for that one: user "ada", role "admin"

python-socketio writes nil for what is absent, and does not know connection state recovery: each
event must come with exactly the one argument that was published.
"""

import datetime
import functools
import os
import queue
import time
import unittest
import uuid

import msgpack
import requests
import socketio

GATEWAY_URL = os.environ["GATEWAY_URL"]
TOKEN_URL = os.environ["TOKEN_URL"]
TOKEN = os.environ["TOKEN"]
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

    def __init__(self, transports, serializer="msgpack", namespace="/", url=GATEWAY_URL, auth=None):
        self.namespace = namespace
        self.heard = queue.Queue()
        self.refused = queue.Queue()
        self.io = socketio.Client(serializer=serializer, reconnection=False, request_timeout=WAIT_S)
        self.io.on("*", lambda event, *args: self.heard.put((event, args)), namespace=namespace)
        self.io.on("connect_error", self.refused.put, namespace=namespace)
        self._where = {"url": url, "auth": auth, "transports": transports, "namespaces": [namespace]}

    def connect(self):
        self.io.connect(**self._where, wait_timeout=WAIT_S)
        return self

    def refusal(self):
        """Connects in vain and returns what the gateway says."""
        try:
            self.connect()
        except socketio.exceptions.ConnectionError:
            return self.refused.get(timeout=WAIT_S)
        self.close()
        raise AssertionError("was let in")

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
                        # A room of its own, so that no test hears another one's events.
                        test(self, f"{name}-{uuid.uuid4()}", client)
                    finally:
                        client.close()

        return run

    return decorate


class Msgpack(unittest.TestCase):
    @each_transport()
    def test_an_event_has_exactly_one_argument(self, room, client):
        self.assertEqual(client.ask("subscribe", room), {"status": "ok", "rooms": [room]})
        # A string is what an offset would look like, so it must arrive alone as well.
        payloads = [{"id": 123, "text": "é😀"}, "exactly 16 chars", None, -1, 2**53 - 1, 2**64 - 1, -(2**63), 1.5, 1e300, [1, [2]], [], {}]
        for payload in payloads:
            self.assertEqual(publish("news", {"rooms": [room], "payload": payload})["sockets"], 1)
            self.assertEqual(client.next(), ("news", ({"payload": payload, "rooms": [room]},)))
            publish("news?deliver=payload", {"rooms": [room], "payload": payload})
            self.assertEqual(client.next(), ("news", (payload,)))

    @each_transport()
    def test_a_handler_with_one_parameter_works(self, room, client):
        # What a user writes. With a second argument python-socketio raises a TypeError instead.
        got = queue.Queue()
        client.io.on("news", lambda data: got.put(data))
        client.ask("subscribe", room)
        publish("news", {"rooms": room, "payload": 1})
        self.assertEqual(got.get(timeout=WAIT_S), {"payload": 1, "rooms": room})

    def test_both_serializers_hear_the_same(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(transport=name):
                clients = [Client(transports, serializer).connect() for serializer in ("default", "msgpack")]
                for client in clients:
                    self.addCleanup(client.close)
                    client.ask("subscribe", f"both-{name}")
                payload = {"n": [0, -1, 1.5, None, True], "text": "é😀", "big": list(range(1000))}
                self.assertEqual(publish("news", {"rooms": f"both-{name}", "payload": payload})["sockets"], 2)
                heard = [client.next() for client in clients]
                self.assertEqual(heard, [("news", ({"payload": payload, "rooms": f"both-{name}"},))] * 2)

    @each_transport()
    def test_events_are_acknowledged(self, room, client):
        for data in [None, 1, "é", {"file": b"\x00\x01\xfe\xff", "name": "x"}, (1, 2, b"3"), datetime_of(0)]:
            self.assertEqual(client.ask("entity", data), {"status": "OK"})
        reply = client.ask("nope", 1)
        self.assertEqual((reply["status"], reply["code"]), ("error", "unknown_event"))
        self.assertEqual(client.ask("grantIn", {"ROLE": room}), "true")
        self.assertEqual(publish("news", {"rooms": room, "payload": 1})["sockets"], 1)
        self.assertEqual(client.next(), ("news", ({"payload": 1, "rooms": room},)))
        self.assertEqual(client.ask("unsubscribe", room)["status"], "ok")
        self.assertEqual(publish("news", {"rooms": room, "payload": 1})["sockets"], 0)

    @each_transport()
    def test_a_burst_arrives(self, room, client):
        client.ask("subscribe", room)
        items = [{"event": "news", "rooms": room, "payload": n} for n in range(100)]
        self.assertEqual([reply["sockets"] for reply in publish("v1/events", items)], [1] * 100)
        # Each message has a thread of its own there, so their order is the scheduler's.
        self.assertEqual(sorted(client.next()[1][0]["payload"] for _ in range(100)), list(range(100)))

    @each_transport(namespace="/shop")
    def test_another_namespace(self, room, client):
        client.ask("subscribe", room)
        publish("news", {"rooms": room, "payload": "other namespace"})
        publish("news", {"rooms": room, "payload": "shop", "namespace": "/shop"})
        self.assertEqual(client.next(), ("news", ({"payload": "shop", "rooms": room},)))

    def test_who_is_refused_is_told_why(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(transport=name):
                self.assertEqual(Client(transports, namespace="/nope").refusal(), {"message": "Invalid namespace"})
                refusal = Client(transports, url=TOKEN_URL, auth={"token": "nonsense"}).refusal()
                self.assertRegex(refusal["message"], "^Unauthorized: .")
                self.assertEqual(refusal["data"], {"code": "token_malformed"})

    @each_transport(url=TOKEN_URL, auth={"token": TOKEN})
    def test_a_token_opens(self, room, client):
        self.assertEqual(client.ask("token:info")["user"], "ada")
        self.assertGreaterEqual(publish("e", {"users": "ada", "payload": 1}, TOKEN_URL)["sockets"], 1)
        self.assertEqual(client.next(), ("e", ({"payload": 1},)))

    @each_transport()
    def test_disconnect_leaves_the_rooms(self, room, client):
        client.ask("subscribe", room)
        self.assertEqual(publish("news", {"rooms": room, "payload": 1})["sockets"], 1)
        client.close()
        # The gateway may learn of it a moment later than the client, or from a missing pong.
        deadline = time.monotonic() + 10
        while publish("news", {"rooms": room, "payload": 2})["sockets"] != 0:
            self.assertLess(time.monotonic(), deadline, "the socket is still in its room")
            time.sleep(0.01)


def datetime_of(seconds):
    """MessagePack's own timestamp, which Python's library can write."""
    return msgpack.Timestamp.from_datetime(datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc))


if __name__ == "__main__":
    unittest.main(verbosity=2)
