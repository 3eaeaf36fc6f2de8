"""The python-socketio client against a running gateway.

GATEWAY_URL  where it listens; namespaces "/" and "/shop", every event exposed, strategy none
TOKEN_URL    a second gateway that checks tokens; rooms "public:*" and "user:{sub}:*"
TOKEN        a token for that one: user "ada", role "admin"
NEW_TOKEN    another one: user "ada", role "editor"
OTHER_TOKEN  a token of user "bob"
SERIALIZER   which parser the clients use: "default" or "msgpack"

python-socketio does not know connection state recovery: it hands every argument of an event to
the handler. So each event must come with exactly the one argument that was published.
"""

import os
import queue
import time
import unittest
import uuid

from client import GATEWAY_URL, TRANSPORTS, WAIT_S, Client, each_transport, publish

TOKEN_URL = os.environ["TOKEN_URL"]
TOKEN = os.environ["TOKEN"]
NEW_TOKEN = os.environ["NEW_TOKEN"]
OTHER_TOKEN = os.environ["OTHER_TOKEN"]


class EachTransport(unittest.TestCase):
    @each_transport()
    def test_an_event_has_exactly_one_argument(self, name, client):
        room = f"room-{name}"
        self.assertEqual(client.ask("subscribe", room), {"status": "ok", "rooms": [room]})
        # A string is what recovery would look like, so it must arrive alone as well.
        for payload in [{"id": 123, "text": "é😀"}, "text", None, 12345678901234567890, [1, [2]]]:
            reply = publish("db-change", {"rooms": [room], "payload": payload})
            self.assertEqual(reply["sockets"], 1)
            self.assertEqual(
                client.next(), ("db-change", ({"payload": payload, "rooms": [room]},))
            )
            publish("bare?deliver=payload", {"rooms": [room], "payload": payload})
            event, args = client.next()
            self.assertEqual(event, "bare")
            # python-socketio hands a null argument on as None.
            self.assertEqual(args, (payload,))

    @each_transport()
    def test_a_handler_with_one_parameter_works(self, name, client):
        # What a user writes. With a second argument python-socketio raises a TypeError instead.
        got = queue.Queue()
        client.io.on("collection:update", lambda data: got.put(data))
        client.ask("subscribe", name)
        publish("collection:update", {"rooms": name, "payload": 1})
        self.assertEqual(got.get(timeout=WAIT_S), {"payload": 1, "rooms": name})

    @each_transport()
    def test_a_burst_arrives(self, name, client):
        # python-engineio takes at most 16 packets in one answer to a poll, and gives up otherwise.
        client.ask("subscribe", name)
        items = [{"event": "count", "rooms": name, "payload": n} for n in range(100)]
        replies = publish("v1/events", items)
        self.assertEqual([reply["sockets"] for reply in replies], [1] * 100)
        got = [client.next()[1][0]["payload"] for _ in range(100)]
        # Each message has a thread of its own there, so their order is the scheduler's.
        self.assertEqual(sorted(got), list(range(100)))
        self.assertTrue(client.io.connected)

    @each_transport()
    def test_unsubscribe_ends_the_events(self, name, client):
        client.ask("subscribe", [name, f"stays-{name}"])
        self.assertEqual(client.ask("unsubscribe", name)["status"], "ok")
        self.assertEqual(publish("e", {"rooms": name, "payload": 1})["sockets"], 0)
        publish("e", {"rooms": f"stays-{name}", "payload": 2})
        self.assertEqual(client.next()[1][0]["payload"], 2)

    @each_transport()
    def test_a_binary_event_is_acknowledged(self, name, client):
        reply = client.ask("upload", {"file": b"\x00\x01\xfe\xff", "name": "x"})
        self.assertEqual(reply, {"status": "OK"})

    @each_transport()
    def test_an_acknowledgement_follows_each_event(self, name, client):
        for number in range(20):
            self.assertEqual(client.ask("anything", number), {"status": "OK"})

    @each_transport(namespace="/shop")
    def test_another_namespace(self, name, client):
        client.ask("subscribe", name)
        publish("e", {"rooms": name, "payload": "other namespace"})
        publish("e", {"rooms": name, "payload": "shop", "namespace": "/shop"})
        self.assertEqual(client.next(), ("e", ({"payload": "shop", "rooms": name},)))

    def test_an_unknown_namespace_is_refused(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(transport=name):
                refusal = Client(transports, namespace="/nope").refusal()
                self.assertEqual(refusal, {"message": "Invalid namespace"})

    @each_transport()
    def test_disconnect_leaves_the_rooms(self, name, client):
        room = str(uuid.uuid4())
        client.ask("subscribe", room)
        self.assertEqual(publish("e", {"rooms": room, "payload": 1})["sockets"], 1)
        client.close()
        client.gone.get(timeout=WAIT_S)
        # The gateway may learn of it a moment later than the client, or from a missing pong.
        deadline = time.monotonic() + 10
        while publish("e", {"rooms": room, "payload": 2})["sockets"] != 0:
            self.assertLess(time.monotonic(), deadline, "the socket is still in its room")
            time.sleep(0.01)


class Upgrade(unittest.TestCase):
    def test_the_connection_is_upgraded(self):
        client = Client(TRANSPORTS["upgrade"]).connect()
        self.addCleanup(client.close)
        self.assertEqual(client.io.transport(), "websocket")

    def test_polling_stays_polling(self):
        client = Client(TRANSPORTS["polling"]).connect()
        self.addCleanup(client.close)
        self.assertEqual(client.io.transport(), "polling")


class WithoutIdentity(unittest.TestCase):
    """Strategy none: nobody is asked who they are, and nobody has a user id."""

    @each_transport()
    def test_grant_in_joins_the_role_and_the_host(self, name, client):
        role, host = f"role-{name}", f"host-{name}"
        self.assertEqual(client.ask("grantIn", {"ROLE": role, "host": host}), "true")
        for room in (role, host):
            self.assertEqual(publish("e", {"rooms": room, "payload": 1})["sockets"], 1)
            self.assertEqual(client.next(), ("e", ({"payload": 1, "rooms": room},)))
        self.assertEqual(client.ask("grantIn", {}), "false")

    @each_transport()
    def test_a_socket_id_is_a_target(self, name, client):
        sid = client.io.get_sid()
        self.assertEqual(publish("e", {"users": sid, "payload": 1})["sockets"], 1)
        self.assertEqual(client.next(), ("e", ({"payload": 1},)))
        self.assertEqual(publish("e", {"payload": {"own": [sid]}})["sockets"], 1)
        self.assertEqual(client.next(), ("e", ({"payload": {"own": [sid]}},)))

    @each_transport(auth={"token": "not a token", "user": "ada"})
    def test_what_a_client_says_of_itself_is_not_believed(self, name, client):
        client.ask("subscribe", name)
        for target in [{"users": "ada"}, {"payload": {"own": "ada"}}]:
            self.assertEqual(publish("e", {"payload": 1, **target})["sockets"], 0)
        publish("e", {"rooms": name, "payload": "last"})
        self.assertEqual(client.next()[1][0]["payload"], "last")


class Identity(unittest.TestCase):
    @each_transport(url=TOKEN_URL, auth={"token": TOKEN})
    def test_a_token_gives_roles_and_a_user(self, name, client):
        self.assertEqual(client.ask("grantIn", {"ROLE": "admin"}), "true")
        self.assertEqual(client.ask("grantIn", {"ROLE": "root"}), "false")
        self.assertEqual(client.ask("subscribe", "secret")["code"], "room_forbidden")
        self.assertEqual(client.ask("subscribe", "user:bob:inbox")["code"], "room_forbidden")
        own = f"user:ada:{name}"
        self.assertEqual(client.ask("subscribe", own), {"status": "ok", "rooms": [own]})
        for target in [{"rooms": "admin"}, {"rooms": own}, {"users": "ada"}, {"payload": {"own": "ada"}}]:
            body = {"payload": {"n": 1}, **target}
            self.assertGreaterEqual(publish("e", body, TOKEN_URL)["sockets"], 1)
            event, args = client.next()
            self.assertEqual((event, len(args)), ("e", 1))
            self.assertEqual(args[0]["payload"], body["payload"])

    def test_where_a_token_may_stand(self):
        places = [
            {"auth": {"token": f"Bearer {TOKEN}"}},
            {"auth": {"Authorization": f"bearer {TOKEN}"}},
            {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        ]
        for place in places:
            for name, transports in TRANSPORTS.items():
                with self.subTest(transport=name, place=place.keys()):
                    client = Client(transports, url=TOKEN_URL, **place).connect()
                    self.addCleanup(client.close)
                    self.assertEqual(client.ask("token:info")["user"], "ada")
                    client.close()

    def test_without_a_good_token_the_connection_is_refused(self):
        cases = [
            (None, "token_missing"),
            ({"token": "nonsense"}, "token_malformed"),
            ({"token": TOKEN + "AAAA"}, "token_signature"),
        ]
        for name, transports in TRANSPORTS.items():
            for auth, code in cases:
                with self.subTest(transport=name, code=code):
                    refusal = Client(transports, url=TOKEN_URL, auth=auth).refusal()
                    self.assertRegex(refusal["message"], "^Unauthorized: .")
                    self.assertEqual(refusal["data"], {"code": code})

    @each_transport(url=TOKEN_URL, auth={"token": TOKEN})
    def test_a_new_token_takes_the_place_of_the_old(self, name, client):
        self.assertEqual(client.ask("token:refresh", OTHER_TOKEN)["code"], "token_other_user")
        self.assertEqual(client.ask("token:info")["rooms"], ["admin"])
        self.assertEqual(client.ask("token:refresh", NEW_TOKEN)["status"], "ok")
        self.assertEqual(client.ask("token:info")["rooms"], ["editor"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
