// Thousands of light clients that know how to come back, in one process. Orders: {gather}, {cut},
// {deafen}, {comeBack}, {check}, {churn}; see each. The answer is one message with one key.

import { LightClient, lightFrame } from '../harness/light.js';

const CONNECTING_MAX = 1000;
const EVENT = /^42\["n",\{"payload":(\d+)[^]*?\}(?:,"([^"]{16})")?\]$/;

let failed = false;
function fail(why) {
  if (failed) return;
  failed = true;
  process.send({ failed: String(why) });
}

/** One client: what it knows of its session, what it heard, and its connection of now. */
class Bird {
  numbers = [];
  replayed = 0;
  connection = null;

  constructor(index) {
    this.index = index;
  }

  /** Opens a connection and claims what it had, if it had something. */
  connect(port, { subscribe, onReady, onLost }) {
    this.ready = false;
    const before = this.numbers.length;
    const connection = new LightClient({
      port,
      index: this.index,
      onPacket: (text) => {
        // What the old connection still brings was not asked for.
        if (connection !== this.connection) return;
        if (text.startsWith('0{')) {
          const claim = this.pid ? { pid: this.pid, offset: this.offset } : {};
          connection.send(`40${JSON.stringify(claim)}`);
        } else if (text.startsWith('40{')) {
          const { sid, pid } = JSON.parse(text.slice(2));
          this.recovered = this.pid === pid && this.sid === sid;
          Object.assign(this, { sid, pid });
          this.replayed = this.numbers.length - before;
          if (subscribe) connection.write(subscribe);
          else this.#settle(onReady);
        } else if (text.startsWith('430[{"status":"ok"')) {
          this.#settle(onReady);
        } else {
          const [, number, offset] = text.match(EVENT) ?? [];
          if (number === undefined) {
            fail(`client ${this.index} got ${text}`);
            return;
          }
          this.numbers.push(Number(number));
          this.offset = offset;
        }
      },
      onOver: () => {
        if (connection === this.connection && connection.over !== 'reset by the test') onLost(this, connection.over);
      },
    });
    this.connection = connection;
  }

  #settle(onReady) {
    this.ready = true;
    onReady(this);
  }
}

const flock = [];

/** Connects all of them, so many at a time, and says when all are there. */
function connectAll(port, birds, options, done) {
  const waiting = [...birds];
  let ready = 0;
  const open = () => {
    const bird = waiting.pop();
    bird?.connect(port, {
      ...options,
      onReady: () => {
        ready += 1;
        if (ready === birds.length) done();
        open();
      },
      onLost: (lost, why) => fail(`client ${lost.index} was lost: ${why}`),
    });
  };
  for (let i = 0; i < CONNECTING_MAX; i += 1) open();
}

const orders = {
  /** So many join a room. */
  gather({ port, room, clients }) {
    for (let i = 0; i < clients; i += 1) flock.push(new Bird(i));
    const subscribe = lightFrame(`420["subscribe",${JSON.stringify(room)}]`);
    connectAll(port, flock, { subscribe }, () => process.send({ gathered: flock.length }));
  },
  /** All lose their connections at once. */
  cut() {
    for (const bird of flock) bird.connection.reset();
    process.send({ cut: flock.length });
  },
  /** All stop reading; their connections stay. */
  deafen() {
    for (const { connection } of flock) connection.socket.pause();
    process.send({ deafened: flock.length });
  },
  /** All come back at once. */
  comeBack({ port }) {
    const started = Date.now();
    const old = flock.map(({ connection }) => connection);
    connectAll(port, flock, {}, () => {
      for (const connection of old) if (!connection.socket.destroyed) connection.socket.resume();
      process.send({
        back: {
          recovered: flock.filter(({ recovered }) => recovered).length,
          fresh: flock.filter(({ recovered }) => !recovered).length,
          ms: Date.now() - started,
        },
      });
    });
  },
  /** Waits until all have heard the last of these numbers, then says how many heard exactly these. */
  check({ numbers, waitMs }) {
    const deadline = Date.now() + waitMs;
    const look = () => {
      const late = flock.filter((bird) => bird.numbers.at(-1) !== numbers.at(-1));
      if (late.length && Date.now() < deadline) {
        setTimeout(look, 20);
        return;
      }
      const wanted = JSON.stringify(numbers);
      const wrong = flock.filter((bird) => JSON.stringify(bird.numbers) !== wanted);
      process.send({
        checked: { right: flock.length - wrong.length, wrong: wrong.slice(0, 5).map((bird) => [bird.index, bird.numbers]) },
      });
    };
    look();
  },
  /** So many come one after the other, enter a room of their own, and go; every other one rudely. */
  churn({ port, count, atOnce }) {
    let begun = 0;
    let gone = 0;
    const one = () => {
      if (begun === count) return;
      begun += 1;
      const number = begun;
      const visitor = new LightClient({
        port,
        index: number,
        onPacket: (text) => {
          if (text.startsWith('0{')) visitor.send('40');
          else if (text.startsWith('40{')) visitor.send(`420["subscribe","room-${number}"]`);
          else if (text.startsWith('430[{"status":"ok"')) number % 2 ? visitor.leave() : visitor.reset();
          else if (!text.startsWith('42')) fail(`client ${number} got ${text}`);
        },
        onOver: () => {
          if (!/by the test$/.test(visitor.over)) fail(`client ${number}: ${visitor.over}`);
          gone += 1;
          if (gone === count) process.send({ churned: gone });
          one();
        },
      });
    };
    for (let i = 0; i < atOnce; i += 1) one();
  },
};

process.on('message', (message) => {
  for (const [order, value] of Object.entries(message)) orders[order](value);
});
process.on('disconnect', () => process.exit(0));
