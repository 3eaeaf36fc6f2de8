"""The python-socketio client and recovery, which it does not know.

GATEWAY_URL  where the gateway listens; strategy none, recovery on

Whoever does not know recovery must get each event with exactly the arguments that were published:
a second one makes python-socketio raise a TypeError in a handler with one parameter.
"""

import queue
import unittest

import socketio

from client import GATEWAY_URL, TRANSPORTS, WAIT_S, publish


def connect(transports, auth=None):
    client = socketio.Client(reconnection=False, request_timeout=WAIT_S)
    client.connect(GATEWAY_URL, auth=auth, transports=transports, wait_timeout=WAIT_S)
    return client


class Recovery(unittest.TestCase):
    def each(self, test, auth=None):
        for name, transports in TRANSPORTS.items():
            with self.subTest(transport=name):
                client = connect(transports, auth)
                try:
                    self.assertEqual(client.call("subscribe", name, timeout=WAIT_S)["status"], "ok")
                    test(name, client)
                finally:
                    client.disconnect()

    def test_a_handler_with_one_parameter_keeps_working(self):
        def test(room, client):
            heard = queue.Queue()
            client.on("news", lambda data: heard.put(data))
            for payload in [{"id": 1}, "text", "exactly 16 chars", None, [1]]:
                publish("news", {"rooms": room, "payload": payload})
                self.assertEqual(heard.get(timeout=WAIT_S), {"payload": payload, "rooms": room})
                # Between two polls nobody is there to take a volatile event.
                volatile = room != "polling"
                publish("news?deliver=payload", {"rooms": room, "payload": payload, "volatile": volatile})
                self.assertEqual(heard.get(timeout=WAIT_S), payload)

        self.each(test)

    def test_a_handler_of_everything_gets_one_argument(self):
        def test(room, client):
            heard = queue.Queue()
            client.on("*", lambda event, *args: heard.put((event, args)))
            publish("bare?deliver=payload", {"rooms": room, "payload": "x"})
            self.assertEqual(heard.get(timeout=WAIT_S), ("bare", ("x",)))

        self.each(test)

    def test_whoever_asks_for_the_offset_gets_it(self):
        def test(room, client):
            heard = queue.Queue()
            client.on("news", lambda *args: heard.put(args))
            publish("news", {"rooms": room, "payload": 1})
            envelope, offset = heard.get(timeout=WAIT_S)
            self.assertEqual(envelope, {"payload": 1, "rooms": room})
            self.assertEqual(len(offset), 16)

        self.each(test, {"recovery": True})

    def test_whoever_declines_it_does_not(self):
        def test(room, client):
            heard = queue.Queue()
            client.on("news", lambda *args: heard.put(args))
            publish("news", {"rooms": room, "payload": 1})
            self.assertEqual(heard.get(timeout=WAIT_S), ({"payload": 1, "rooms": room},))

        self.each(test, {"recovery": False})


if __name__ == "__main__":
    unittest.main(verbosity=2)
