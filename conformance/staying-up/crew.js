// Stock clients in a process of their own, so that it can be stopped, frozen and killed. The parent
// sends {hire: {url, options, members: [{token, rooms, transports}]}} and then asks: {count},
// {report}. Answers: {hired}, {counted: …}, {reported: [{…}]}, {failed: why}.

import { io } from 'socket.io-client';

const EVENT = 'numbered';
const crew = [];
let failed = false;

function fail(why) {
  if (failed) return;
  failed = true;
  process.send({ failed: String(why) });
}

/** A stock client and what it heard: the numbers of events, in the order of arrival. */
class Member {
  numbers = [];
  connects = 0;
  recoveries = 0;
  losses = {};
  /** How often the connection was lost when a part of what was missed had arrived, and CONNECT had not. */
  cutReplays = 0;

  constructor(url, options, { token, rooms = [], transports, recovery }, onReady) {
    const auth = { ...(token && { token }), ...(recovery !== undefined && { recovery }) };
    this.socket = io(url, { forceNew: true, ...options, ...(transports && { transports }), auth });
    let ready = false;
    this.socket.on('connect', () => {
      this.connects += 1;
      if (this.socket.recovered) {
        this.recoveries += 1;
        return;
      }
      // Fresh, as the first time: the rooms have to be asked for.
      const entered = () => {
        if (ready) return;
        ready = true;
        onReady();
      };
      if (rooms.length === 0) entered();
      else {
        this.socket.emit('subscribe', rooms, (reply) => {
          if (reply.status === 'ok') entered();
          else fail(JSON.stringify(reply));
        });
      }
    });
    this.socket.on('disconnect', (reason) => {
      this.losses[reason] = (this.losses[reason] ?? 0) + 1;
    });
    this.socket.io.on('reconnect_attempt', () => {
      if (this.socket.receiveBuffer.length) this.cutReplays += 1;
    });
    this.socket.on('connect_error', (error) => {
      // An error of the connection is tried again; a refusal of the gateway is not.
      if (!this.socket.active) fail(`refused: ${error.message}`);
    });
    this.socket.on(EVENT, (first) => this.numbers.push(first.payload.n));
  }

  get last() {
    return this.numbers.at(-1);
  }
}

const orders = {
  hire({ url, options, members }) {
    let ready = 0;
    const onReady = () => {
      ready += 1;
      if (ready === members.length) process.send({ hired: ready });
    };
    for (const member of members) crew.push(new Member(url, options, member, onReady));
  },
  /** How many are connected, and how many have heard this number. */
  count({ number }) {
    process.send({
      counted: {
        connected: crew.filter(({ socket }) => socket.connected).length,
        heard: crew.filter(({ numbers }) => numbers.includes(number)).length,
        events: crew.reduce((sum, { numbers }) => sum + numbers.length, 0),
      },
    });
  },
  report() {
    process.send({
      reported: crew.map(({ numbers, connects, recoveries, losses, cutReplays, socket }) => ({
        numbers,
        connects,
        recoveries,
        losses,
        cutReplays,
        connected: socket.connected,
      })),
    });
  },
};

process.on('message', (message) => {
  for (const [order, value] of Object.entries(message)) orders[order](value);
});
process.on('disconnect', () => process.exit(0));
