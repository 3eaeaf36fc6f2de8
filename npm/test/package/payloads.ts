// Which payloads the types accept, and which they do not. Compiled, never run.

import {
  EventDataClientInstance,
  SocketDriver,
  onChange,
  type Change,
  type Envelope,
} from '@medyll/idae-socket';
import { HttpDriver, Publisher } from '@medyll/idae-socket/server';

interface Events {
  'invoice:paid': { invoice: number };
  'db-change': Change;
  'users:change': { entity: 'users'; id: number };
  tick: (now: number) => void;
  wrapped: (event: Envelope<{ deep: boolean }>) => void;
}

interface Emits {
  'order:new': { order: number };
}

const client = new EventDataClientInstance<Events, Emits>();
client.on('invoice:paid', ({ payload, rooms, sender }) => [payload.invoice.toFixed(), rooms, sender]);
client.on('tick', (now) => now.toFixed());
client.on('token:expiring', ({ expiresIn }) => expiresIn.toFixed());
client.socket.on('invoice:paid', ({ payload }) => payload.invoice.toFixed());
client.socket.on('connect', () => {});
client.socket.emit('subscribe', ['a'], (answer) => answer);
client.socket.emit('order:new', { order: 1 });
// @ts-expect-error: the event is not declared
client.on('invoice:payed', () => {});
// @ts-expect-error: the payload has no such field
client.on('invoice:paid', ({ payload }) => payload.total);
// @ts-expect-error: the listener wants another payload
client.socket.on('invoice:paid', (event: Envelope<{ invoice: string }>) => event);
// @ts-expect-error: delivered without envelope
client.socket.on('tick', ({ payload }) => payload);
// @ts-expect-error: a room is a string
client.socket.emit('subscribe', 1);
// @ts-expect-error: another payload
client.socket.emit('order:new', { order: '1' });

const server = new HttpDriver<Events>({ socket: { transports: ['websocket'] }, auth: { strategy: 'jwt' } });
void server.toRoom('a', 'invoice:paid', { invoice: 1 });
void server.toUser(1, 'tick', 5);
void server.toAll('wrapped', { deep: true });
// @ts-expect-error: another payload
void server.toRoom('a', 'invoice:paid', { invoice: '1' });
// @ts-expect-error: another payload
void server.toUser(1, 'tick', 'now');
// @ts-expect-error: the event is not declared
void server.toAll('invoice', 1);
// @ts-expect-error: there is no such setting
new HttpDriver({ evnts: ['a'] });
// @ts-expect-error: a number of milliseconds
new HttpDriver({ socket: { ping_interval_ms: '25 s' } });
// @ts-expect-error: no strategy of the gateway
new HttpDriver({ auth: { strategy: 'basic' } });
// @ts-expect-error: a key has a name
new HttpDriver({ publish: { keys: [{ key: 'a' }] } });

const publisher = new Publisher<Events>({ url: 'http://localhost:4000' });
// @ts-expect-error: another payload
void publisher.toAll('invoice:paid', 5);

const driver = new SocketDriver<Events>();
driver.on('invoice:paid', ({ payload }) => payload.invoice.toFixed());
// @ts-expect-error: the event is not declared
driver.on('other', () => {});

onChange(client, { event: 'users:change', entity: 'users' }, ({ id }) => id.toFixed());
onChange(client, { event: 'db-change' }, ({ entity, action }) => [entity.trim(), action.trim()]);
// @ts-expect-error: the event is not declared
onChange(client, { event: 'orders:change' }, () => {});
// @ts-expect-error: a number is no string
onChange(client, { event: 'users:change' }, ({ id }) => id.trim());

// Without a declaration everything is accepted.
const loose = new EventDataClientInstance();
loose.on('anything', (data, more) => [data.payload.deep.er, more]);
loose.socket.emit('anything', 1, 'b', () => {});
onChange(loose, { event: ['a', 'b'] }, ({ entity, id, whatever }) => [entity.trim(), id, whatever]);
void new HttpDriver().toAll('anything', { at: { all: 1 } });
