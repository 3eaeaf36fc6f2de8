"""What msgpack has and JSON has not, as python-socketio writes and reads it.

GATEWAY_URL  where the gateway listens; every event exposed, strategy none
"""

import datetime
import unittest

import msgpack

from client import TRANSPORTS, Client, each_transport, publish


class Msgpack(unittest.TestCase):
    @each_transport()
    def test_numbers_of_all_sizes(self, name, client):
        client.ask("subscribe", name)
        for number in [0, -1, 127, 128, 2**31, 2**53 - 1, 2**64 - 1, -(2**31) - 1, -(2**63), 1.5, -0.25, 1e300]:
            publish("e", {"rooms": name, "payload": number})
            _, (envelope,) = client.next()
            self.assertEqual(envelope["payload"], number)
            self.assertIs(type(envelope["payload"]), type(number))

    @each_transport()
    def test_what_json_has_no_word_for_is_taken(self, name, client):
        # Keys that are no text, a moment, bytes beside values, and several arguments.
        now = msgpack.Timestamp.from_datetime(datetime.datetime.now(datetime.timezone.utc))
        for data in [{1: "x", None: "y", True: 2.5, 1.5: []}, now, {"file": b"\x00\x01\xfe\xff"}, (1, b"2", None)]:
            self.assertEqual(client.ask("anything", data), {"status": "OK"})

    def test_both_parsers_hear_the_same(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(transport=name):
                clients = [Client(transports, serializer=one).connect() for one in ("default", "msgpack")]
                for client in clients:
                    self.addCleanup(client.close)
                    client.ask("subscribe", f"both-{name}")
                payload = {"n": [0, -1, 1.5, None, True], "text": "é😀", "big": list(range(1000))}
                self.assertEqual(publish("e", {"rooms": f"both-{name}", "payload": payload})["sockets"], 2)
                heard = [client.next() for client in clients]
                self.assertEqual(heard, [("e", ({"payload": payload, "rooms": f"both-{name}"},))] * 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
