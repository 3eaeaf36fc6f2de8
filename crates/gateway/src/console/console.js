// The console: connects, joins rooms, publishes, and shows what arrives and how the gateway does.
//
// Invariants: what comes from the network becomes text, never markup. The token and the publish
// key live in their two fields and nowhere else. Whatever a peer can make grow has a limit here,
// and events are drawn once per frame, however many come.

const EVENTS_MAX = 500;
const EVENTS_CHARS_MAX = 8_000_000;
const JSON_SHOWN_CHARS_MAX = 100_000;
const WORDS_SHOWN_CHARS_MAX = 200;
const ITEMS_SHOWN_MAX = 8;
const SAMPLES_MAX = 90;
const METRICS_MS = 2000;
const INFO_MS = 5000;
const ACK_MS = 5000;
const ANNOUNCE_MS = 3000;

const DOCS = 'https://github.com/medyll/idae-socket/blob/main/docs/errors.md#';
const CURES = {
  token_missing: 'Paste a token above.',
  token_malformed: 'Paste the whole token, without quotes.',
  token_algorithm: 'Sign with one of auth.algorithms.',
  token_key_unknown: 'Sign with a key of auth.jwks_url.',
  token_signature: 'Sign with the key that the gateway checks with.',
  token_expired: 'Get a new token. If it is new, compare the clocks of both machines.',
  token_not_yet_valid: 'Wait, or compare the clocks of both machines.',
  token_issuer: 'Its iss must equal auth.issuer.',
  token_audience: 'Its aud must contain auth.audience.',
  token_claims: 'User and roles must be texts or numbers.',
  token_inactive: 'Get a new token.',
  token_other_user: 'To change the user, disconnect and connect.',
  introspection_unavailable: 'Check auth.introspection_url.',
  introspection_timeout: 'Check the service at auth.introspection_url.',
  jwks_unavailable: 'Check auth.jwks_url.',
  'Invalid namespace': 'Choose one that the setting namespaces allows.',
  namespace_forbidden: 'Choose a namespace that fits the claims.',
  room_forbidden: 'Allow it by a role or in rooms.join; for a publish key, in its rooms.',
  authorize_unavailable: 'Check rooms.authorize_url.',
  too_many_rooms: 'Leave a room first.',
  browser_request: 'Open the console at the address that the gateway printed.',
};

const $ = (id) => document.getElementById(id);
const put = (id, words) => ($(id).textContent = words);
/** Where the gateway is, with a slash at the end. */
const base = new URL('.', location);

let settings;
let socket = null;
/** The last answer to token:info. */
let info = {};
/** What was joined here, to be joined again in a new session. */
const joined = new Set();

start();

async function start() {
  try {
    settings = await (await fetch('console/settings.json')).json();
    await loadClient();
  } catch {
    tell('refusal', notice('bad', 'The gateway does not answer as it should. If it runs, load this page again.'));
    show('off', 'No gateway');
    return;
  }
  fillForms();
  listenToForms();
  showRequest();
  showSnippet();
  showSession();
  repeat(METRICS_MS, readMetrics);
  repeat(INFO_MS, askInfo);
  setInterval(showExpiry, 1000);
  if (open()) {
    joined.add('admin');
    connect();
  } else {
    show('idle', 'Not connected');
  }
}

const open = () => settings.strategy === 'none';
const socketPath = () => base.pathname + settings.socketPath.slice(1);

function loadClient() {
  return new Promise((onload, onerror) => {
    document.head.append(make('script', { src: `${socketPath()}socket.io.min.js`, onload, onerror }));
  });
}

function fillForms() {
  const plain = (names) => names.filter((name) => !/[*{]|(^|\/):/.test(name));
  const namespaces = plain(settings.namespaces);
  $('namespaces').append(...namespaces.map((value) => make('option', { value })));
  $('namespace').value = namespaces[0] ?? '/';
  $('event').value = plain(settings.events)[0] ?? 'db-change';
  $('payload').value = JSON.stringify({ entity: 'users', action: 'update', id: 123 }, null, 2);
  $('token-field').hidden = open();
  $('key-field').hidden = !settings.needsKey;
  put('version', settings.version);
}

function listenToForms() {
  document.onsubmit = (event) => {
    event.preventDefault();
    if (event.target.id === 'publish') publish();
    else if (event.target.id === 'join') change('subscribe', $('room').value.trim());
    else if (socket) disconnect();
    else connect();
  };
  $('publish').oninput = showRequest;
  $('connection').oninput = () => {
    showRequest();
    showSnippet();
  };
  for (const button of document.querySelectorAll('[data-copy]')) button.onclick = () => copy(button);
  $('refresh').onclick = sendNewToken;
  $('filter').oninput = redraw;
  $('clear').onclick = clear;
  $('pause').onclick = pause;
}

// The connection

function connect() {
  socket = window.io(base.origin + namespace(), {
    path: socketPath(),
    forceNew: true,
    autoConnect: false,
    auth: (give) => give(token() ? { token: token() } : {}),
  });
  socket.io.decoder = new socket.io.decoder.constructor(exact);
  socket.on('connect', onConnect);
  socket.on('connect_error', onRefusal);
  socket.on('disconnect', onDisconnect);
  socket.onAny(hear);
  socket.io.on('open', () => socket?.io.engine.on('upgrade', showSession));
  socket.connect();
  tell('refusal');
  show('wait', 'Connecting');
}

/** Keeps the digits of numbers that JavaScript would write otherwise, where the browser can. */
function exact(_, value, context) {
  const source = typeof value === 'number' ? context?.source : undefined;
  return source && source !== String(value) && JSON.rawJSON ? JSON.rawJSON(source) : value;
}

/** Ends the session; what is told about it stays on the page. */
function disconnect(...told) {
  socket.off();
  socket.disconnect();
  socket = null;
  info = {};
  put('round-trip', '–');
  tell('refusal', ...told);
  show('idle', told.length ? 'Disconnected' : 'Not connected');
}

async function onConnect() {
  if (!socket.recovered) info = {};
  tell('refusal');
  show('on', 'Connected');
  // The numbers count this connection, too.
  readMetrics();
  if (!socket.recovered) {
    for (const room of joined) await change('subscribe', room);
  }
  askInfo();
}

function onRefusal(error) {
  if (socket.active) {
    tell('refusal', notice('warn', 'The gateway does not answer. Trying again.'));
    show('wait', 'Reconnecting');
  } else {
    disconnect(refusal({ code: error.data?.code, detail: error.message }));
    show('off', 'Refused');
  }
}

function onDisconnect(reason) {
  if (socket.active) {
    show('wait', 'Reconnecting');
  } else {
    // What was told before, such as "the token has expired", explains more.
    disconnect($('refusal').firstChild ?? notice('warn', `The gateway ended the session (${reason}).`));
  }
}

/** Sends an event and gives the acknowledgement; one without a status if none came. */
async function ask(name, ...args) {
  try {
    return (await socket.timeout(ACK_MS).emitWithAck(name, ...args)) ?? {};
  } catch {
    return { detail: `No answer within ${ACK_MS / 1000} s.` };
  }
}

/** Asks what the session has, and measures the way there and back. */
async function askInfo() {
  const asked = socket;
  if (!asked?.connected) return;
  const began = performance.now();
  const answer = await ask('token:info');
  if (asked !== socket || !answer.status) return;
  put('round-trip', duration(performance.now() - began));
  info = answer;
  showSession();
}

async function sendNewToken() {
  const answer = await ask('token:refresh', token());
  tell('refusal', answer.status === 'ok' ? notice('good', 'The new token counts from now on.') : refusal(answer));
  askInfo();
}

const token = () => $('token').value.trim();
const namespace = () => $('namespace').value.trim().replace(/^\/?/, '/');

async function change(what, room) {
  const asked = socket;
  const answer = asked?.connected ? await ask(what, room) : { detail: 'Connect first.' };
  if (asked !== socket) return;
  const ok = answer.status === 'ok';
  tell('room-answer', ...(ok ? [] : [refusal(answer)]));
  if (!ok) return;
  if (what === 'subscribe') {
    joined.add(room);
    if ($('room').value.trim() === room) $('room').value = '';
  } else {
    joined.delete(room);
  }
  say(`${room}: ${what}d`);
  showSnippet();
  await askInfo();
}

function show(state, words) {
  $('state').dataset.state = state;
  put('state', words);
  say(words);
  if (settings) showSession();
}

function showSession() {
  const on = Boolean(socket?.connected);
  put('connect', socket ? 'Disconnect' : 'Connect');
  $('connect').classList.toggle('main', !socket);
  $('namespace').readOnly = Boolean(socket);
  $('refresh').hidden = !on || open();
  put('transport', (on && socket.io.engine?.transport.name) || '–');
  put('socket-id', (on && socket.id) || '–');
  put('session', on ? (socket.recovered ? 'recovered' : 'new') : '–');
  showRooms(on && info.status ? (list(info.rooms) ?? [...joined]) : []);
  showIdentity();
  showCount();
}

function showRooms(rooms) {
  $('rooms-none').hidden = rooms.length > 0;
  // Drawn anew only when they change: a button may have the focus.
  const key = JSON.stringify(rooms);
  if ($('rooms').dataset.key === key) return;
  $('rooms').dataset.key = key;
  const chips = rooms.map((room) => {
    const leave = make('button', { type: 'button', ariaLabel: `Leave ${room}` }, '×');
    leave.onclick = async () => {
      await change('unsubscribe', room);
      $('room').focus();
    };
    return make('li', {}, short(room), leave);
  });
  $('rooms').replaceChildren(...chips);
}

function showIdentity() {
  const known = info.status === 'ok';
  let note = '';
  if (open()) {
    note = 'Authentication is off: everybody is let in, to every room. Set auth.strategy before others can reach this.';
  } else if (known && info.user == null && settings.mode === 'soft') {
    note = 'Let in without identity: auth.mode is soft. The log says what is wrong with the token.';
  }
  put('identity-note', note);
  $('identity-note').hidden = !note;
  const facts = { Strategy: open() ? 'none' : `${settings.strategy}, ${settings.mode}` };
  if (known && !open()) {
    facts.User = info.user ?? 'none';
    facts.Roles = list(info.roles)?.map(short).join(', ') || 'none';
    facts.Rooms = list(info.rooms)?.length ?? 0;
    facts.Expires = info.expiresAt == null ? 'never' : '';
  }
  showFacts('identity', facts);
  showExpiry();
}

function showExpiry() {
  const place = $('identity').querySelector('dd:last-child');
  if (info.expiresAt == null || open()) return;
  const left = Math.max(0, Math.round(info.expiresAt - Date.now() / 1000));
  const clock = [left / 3600, (left / 60) % 60, left % 60].map((part) => String(Math.floor(part)).padStart(2, '0'));
  place.textContent = left ? `in ${clock.join(':')}` : 'now';
}

// Publishing

/** The request that the form describes, `{url, body}`, or what is wrong, `{field, fault}`. */
function compose() {
  const event = $('event').value.trim();
  if (!event) return { field: 'event', fault: 'Name the event.' };
  const parts = [];
  for (const name of ['rooms', 'users']) {
    const names = $(`to-${name}`).value.split(',').map((text) => text.trim()).filter(Boolean);
    if (names.length) parts.push(`"${name}":${JSON.stringify(names)}`);
  }
  if ($('broadcast').checked) parts.push('"broadcast":true');
  if (namespace() !== '/') parts.push(`"namespace":${JSON.stringify(namespace())}`);
  const payload = $('payload').value;
  try {
    JSON.parse(payload);
  } catch ({ message }) {
    return { field: 'payload', fault: payload.trim() ? `This is not JSON: ${message}` : 'Enter a payload; null will do.' };
  }
  // As it was written, less the blanks between tokens: 12345678901234567890 must stay exact.
  parts.push(`"payload":${payload.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1')}`);
  const path = encodeURIComponent(event.toWellFormed()).replaceAll('%2F', '/').replaceAll('%3A', ':');
  return { url: base + path, body: `{${parts.join(',')}}` };
}

function showRequest() {
  const { url, body, field, fault } = compose();
  put('payload-fault', field === 'payload' ? fault : '');
  mark([field]);
  const key = settings.needsKey ? ' -H "authorization: Bearer $IDAE_SOCKET_PUBLISH_KEY"' : '';
  const address = fault || /^[\w:/.%-]+$/.test(url) ? url : quoted(url);
  put('curl', fault ? '–' : `curl -d ${quoted(body)} -H 'content-type: application/json'${key} ${address}`);
}

/** One word for a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

async function publish() {
  const { url, body, field, fault } = compose();
  if (fault) {
    // What is wrong with the payload is said below it.
    tell('answer', ...(field === 'payload' ? [] : [notice('bad', fault)]));
    mark([field]);
    $(field).focus();
    return;
  }
  const headers = { 'content-type': 'application/json' };
  const key = $('key').value.trim();
  if (key) headers.authorization = `Bearer ${key}`;
  const began = performance.now();
  try {
    const response = await fetch(url, { method: 'POST', headers, body });
    const took = performance.now() - began;
    const answer = await response.json();
    tell('answer', response.ok ? receipt(answer, took) : problem(answer, response.status));
    mark(response.ok ? [] : fieldsOf(answer));
  } catch ({ message }) {
    tell('answer', notice('bad', `The gateway did not answer: ${message}`));
  }
}

function receipt({ id, sockets }, took) {
  const node = notice('good', `Delivered to ${count(sockets, 'socket')} in ${duration(took)}.`);
  if (!sockets) node.append(make('p', {}, `Nobody is there. ${whoWould()}`));
  node.append(make('p', { className: 'aside' }, 'Event id ', make('code', {}, short(id))));
  return node;
}

/** Who would get what the form describes. */
function whoWould() {
  if ($('broadcast').checked) return 'Connect a client and publish again.';
  if ($('to-rooms').value.trim()) return 'Join one of these rooms and publish again.';
  return "A socket is a user's if its token names the user.";
}

function problem(answer, status) {
  const node = refusal({ ...answer, title: `${status}: ${answer.title}` });
  const faults = (list(answer.errors) ?? []).slice(0, ITEMS_SHOWN_MAX);
  // A single fault says what the detail says.
  if (faults.length > 1) {
    node.append(...faults.map(({ pointer, detail }) => make('p', {}, make('code', {}, short(pointer)), ` ${detail}`)));
  }
  return node;
}

/** The fields that a problem is about. */
function fieldsOf({ code, errors }) {
  const names = (list(errors) ?? []).map(({ pointer }) => String(pointer).split('/')[1]);
  if (code === 'no_target') names.push('rooms');
  if (/^event_/.test(code)) names.push('event');
  if (/^(key_invalid|unauthorized)$/.test(code)) names.push('key');
  return names.map((name) => (name === 'rooms' || name === 'users' ? `to-${name}` : name));
}

function mark(fields) {
  for (const field of ['event', 'to-rooms', 'to-users', 'broadcast', 'payload', 'key', 'namespace']) {
    $(field).ariaInvalid = fields.includes(field);
  }
}

// Live events

/** Heard and not yet drawn, oldest first. */
let pending = [];
/** Drawn, or hidden by the filter; oldest first. */
let kept = [];
let keptChars = 0;
let heard = 0;
let paused = false;
let drawing = false;

function hear(name, ...args) {
  // With recovery on, the offset of an event is one more argument. (The client's own word for it has another
  // name in each of its builds.)
  if (args.length > 1 && typeof args.at(-1) === 'string' && /^[\w-]{16}$/.test(args.at(-1))) args.pop();
  heard += 1;
  pending.push({ time: new Date(), name, args });
  // A page that is hidden or paused draws nothing and must not grow either.
  if (pending.length >= 2 * EVENTS_MAX) pending = pending.slice(-EVENTS_MAX);
  if (name === 'token:expiring') tell('refusal', notice('warn', 'The token expires soon: paste a new one and send it.'));
  if (name === 'token:expired') tell('refusal', refusal({ code: 'token_expired', detail: 'The token has expired.' }));
  if (!drawing) requestAnimationFrame(draw);
  drawing = true;
}

function draw() {
  drawing = false;
  if (!paused && pending.length) {
    const news = pending.slice(-EVENTS_MAX).map(entry);
    pending = [];
    kept.push(...news);
    for (const { text } of news) keptChars += text.length;
    while (kept.length > EVENTS_MAX || (keptChars > EVENTS_CHARS_MAX && kept.length > 1)) {
      const old = kept.shift();
      keptChars -= old.text.length;
      old.row?.remove();
    }
    $('list').prepend(...kept.slice(-news.length).filter(matches).map(row).reverse());
    say(`${count(news.length, 'new event')}, the last is ${short(news.at(-1).name)}`);
  }
  showCount();
}

function entry({ time, name, args }) {
  const text = args.map((arg) => json(arg)).join(', ');
  const envelope = settings.deliver === 'envelope' && args[0]?.payload !== undefined ? args[0] : {};
  const rooms = [envelope.rooms ?? []].flat().map((room) => (typeof room === 'string' ? room : json(room)));
  const preview = envelope.payload === undefined ? text : json(envelope.payload);
  return { time, name, args, text, rooms, preview, size: bytes(new TextEncoder().encode(text).length) };
}

function json(value, indent) {
  const readable = (_, part) => (part instanceof ArrayBuffer ? `(${part.byteLength} bytes)` : part);
  return String(JSON.stringify(value, readable, indent));
}

function row(event) {
  const { time, name, args, rooms, preview, size } = event;
  const clock = `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, '0')}`;
  const tags = rooms.slice(0, ITEMS_SHOWN_MAX).map((room) => span('room', short(room)));
  if (rooms.length > ITEMS_SHOWN_MAX) tags.push(`+ ${rooms.length - ITEMS_SHOWN_MAX}`);
  const summary = make('summary', {}, span('title', make('b', {}, short(name)), ...tags));
  summary.append(span('aside', `${size} · ${clock}`), span('preview', short(preview)));
  const details = make('details', { ontoggle: () => unfold(details, args) }, summary);
  return (event.row = make('li', {}, details));
}

/** Writes the whole JSON of a row when it is first opened. */
function unfold(details, args) {
  if (!details.open || details.children.length > 1) return;
  const text = args.map((arg) => json(arg, 2)).join('\n');
  const more = text.length - JSON_SHOWN_CHARS_MAX;
  details.append(make('pre', {}, text.slice(0, JSON_SHOWN_CHARS_MAX), more > 0 ? `\n… ${more} more characters` : ''));
}

function matches({ name, rooms, text }) {
  const wanted = $('filter').value.trim().toLowerCase();
  return !wanted || [name, ...rooms, text].some((words) => words.toLowerCase().includes(wanted));
}

function redraw() {
  $('list').replaceChildren(...kept.filter(matches).map(row).reverse());
  showCount();
}

function clear() {
  pending = [];
  kept = [];
  keptChars = heard = 0;
  redraw();
  say('Cleared');
}

function pause() {
  paused = !paused;
  $('pause').ariaPressed = paused;
  draw();
}

function showCount() {
  const parts = [count(heard, 'event')];
  if (paused) parts.push(`${pending.length} waiting`);
  else if (heard > kept.length) parts.push(`last ${kept.length} kept`);
  put('events-count', parts.join(' · '));
  const isEmpty = !$('list').hasChildNodes();
  $('events-off').hidden = !isEmpty || kept.length || socket;
  $('events-none').hidden = !isEmpty || !$('events-off').hidden;
  if (kept.length) put('events-none', 'No event matches the filter.');
}

// Numbers

/** The reading before. */
let last = null;
const series = { connections: [], rate: [], p50: [], p99: [] };

async function readMetrics() {
  try {
    const response = await fetch('metrics');
    if (!response.ok) throw new Error(`status ${response.status}`);
    showMetrics(parse(await response.text()), performance.now() / 1000);
    put('numbers-fault', '');
  } catch ({ message }) {
    last = null;
    put('numbers-fault', `The numbers cannot be read at the moment: ${message}.`);
  }
}

function showMetrics(samples, at) {
  const all = (name) => samples.filter((sample) => sample.name === `idae_socket_${name}`);
  const sum = (some) => some.reduce((total, { value }) => total + value, 0);
  const events = sum(all('events_total'));
  const buckets = bucketsOf(all('delivery_seconds_bucket'));
  // A gateway that was started anew counts from nought.
  const follows = last && events >= last.events;
  const rate = follows ? (events - last.events) / (at - last.at) : null;
  const [p50, p99] = follows ? quantiles(buckets, last.buckets, [0.5, 0.99]) : [null, null];
  // What another process was measured at says nothing about this one.
  if (!follows) series.p50 = series.p99 = [];
  last = { at, events, buckets };
  const connections = sum(all('connections'));
  const polling = sum(all('connections').filter(({ labels }) => labels.transport === 'polling'));
  for (const [name, value] of Object.entries({ connections, rate, p50, p99 })) {
    series[name] = [...series[name], value].slice(-SAMPLES_MAX);
  }

  put('connections', number(connections));
  put('connections-more', `${number(polling)} by polling`);
  put('rate', tenths(rate));
  put('rate-more', `${number(events)} in all`);
  put('latency', duration(recent(series.p50)));
  put('latency-more', duration(recent(series.p99)));
  chart('connections', [series.connections], number);
  chart('rate', [series.rate], tenths);
  chart('latency', [series.p50, series.p99], duration);
  const total = (name) => number(sum(all(name)));
  showFacts('counters', {
    Sockets: total('sockets'),
    Deliveries: total('deliveries_total'),
    Refusals: total('refusals_total'),
    'Limits hit': total('limits_reached_total'),
  });
}

/** OpenMetrics text as `{name, labels, value}`. */
function parse(text) {
  const samples = [];
  for (const [, name, words = '', value] of text.matchAll(/^(\w+)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)/gm)) {
    const labels = {};
    for (const [, label, content] of words.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[label] = content;
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}

/** Upper bound in ms to cumulative count, in the ascending order of the text. */
function bucketsOf(samples) {
  const buckets = new Map();
  for (const { labels, value } of samples) {
    const bound = labels.le === '+Inf' ? Infinity : labels.le * 1000;
    buckets.set(bound, (buckets.get(bound) ?? 0) + value);
  }
  return buckets;
}

/** Quantiles of what was counted between two readings; null if that is nothing. */
function quantiles(buckets, before, wanted) {
  const steps = [...buckets].map(([bound, total]) => [bound, total - (before.get(bound) ?? 0)]);
  const total = steps.at(-1)?.[1];
  return wanted.map((quantile) => {
    if (!(total > 0)) return null;
    const rank = quantile * total;
    const index = steps.findIndex(([, counted]) => counted >= rank);
    const [lower, below] = steps[index - 1] ?? [0, 0];
    const [upper, counted] = steps[index];
    return upper === Infinity ? lower : lower + ((upper - lower) * (rank - below)) / (counted - below);
  });
}

const recent = (values) => values.findLast((value) => value !== null) ?? null;

/** Lines from left, the past, to right, now; null makes a gap. */
function chart(id, lines, format) {
  const most = Math.max(0, ...lines.flat());
  const paths = lines.map((values, which) => {
    let line = '';
    values.forEach((value, index) => {
      if (value === null) return;
      const x = 120 - ((values.length - 1 - index) * 120) / (SAMPLES_MAX - 1);
      const y = 35 - (most && (value / most) * 32);
      // A line of no length, so that a single value is a dot.
      line += (values[index - 1] ?? null) === null ? `M${x} ${y}h0` : `L${x} ${y}`;
    });
    return path(which ? 'second' : '', line);
  });
  $(`${id}-chart`).replaceChildren(path('base', 'M0 36H120'), ...paths);
  $(`${id}-chart`).ariaLabel = `At most ${format(most)}, now ${format(recent(lines.at(-1)))}`;
}

function path(className, d) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  node.setAttribute('class', className);
  node.setAttribute('d', d);
  return node;
}

// The snippet

function showSnippet() {
  const options = [];
  if (!open()) options.push("auth: { token: 'YOUR_TOKEN' }");
  if (socketPath() !== '/socket.io/') options.push(`path: ${literal(socketPath())}`);
  const address = literal(base.origin + (namespace() === '/' ? '' : namespace()));
  const rooms = joined.size ? [...joined] : ['admin'];
  put('snippet', `// npm install socket.io-client
import { io } from 'socket.io-client';

const socket = io(${address}${options.length ? `, { ${options.join(', ')} }` : ''});
socket.on('connect', () => {
  socket.emit('subscribe', [${rooms.map(literal).join(', ')}], console.log);
});
socket.on('connect_error', (error) => console.error(error.message));
socket.onAny((event, data) => console.log(event, data));`);
}

/** A text as JavaScript source. */
const literal = (text) => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;

// Small things

function make(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const span = (className, ...children) => make('span', { className }, ...children);
const notice = (kind, words) => make('div', { className: `notice ${kind}` }, make('p', {}, words));
const tell = (id, ...nodes) => $(id).replaceChildren(...nodes);

/** Why something was refused, what to do, and its code. */
function refusal({ code, title, detail = 'Refused.' }) {
  const node = notice('bad', title ?? detail);
  if (title) node.append(make('p', {}, detail));
  // Socket.IO's own refusal has no code.
  const cure = code ?? detail;
  if (Object.hasOwn(CURES, cure)) node.append(make('p', {}, make('b', {}, 'Cure: '), CURES[cure]));
  if (code) {
    const link = make('a', { href: DOCS + encodeURIComponent(code), target: '_blank', rel: 'noreferrer' }, 'explained');
    node.append(make('p', { className: 'aside' }, make('code', {}, short(code)), ' ', link));
  }
  return node;
}

function showFacts(id, facts) {
  tell(id, ...Object.entries(facts).flatMap(([title, words]) => [make('dt', {}, title), make('dd', {}, words)]));
}

async function copy(button) {
  const source = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Without HTTPS there is no clipboard; the selection can be copied.
    getSelection().selectAllChildren(source);
    document.execCommand('copy');
  }
  button.textContent = 'Copied';
  setTimeout(() => (button.textContent = 'Copy'), 1500);
}

let saidAt = -ANNOUNCE_MS;
let saying;

/** Tells a screen reader; of many things in a short time the last one. */
function say(words) {
  clearTimeout(saying);
  const speak = () => {
    saidAt = performance.now();
    put('announcer', words);
  };
  saying = setTimeout(speak, saidAt + ANNOUNCE_MS - performance.now());
}

/** Does something now and every `ms`, while the page is looked at. */
async function repeat(ms, act) {
  for (;;) {
    if (!document.hidden) await act();
    await new Promise((done) => setTimeout(done, ms));
  }
}

const list = (value) => (Array.isArray(value) ? value : undefined);
const number = (value) => value.toLocaleString('en');
const tenths = (value) => (value === null ? '–' : number(Math.round(value * 10) / 10));
const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`;

function short(value) {
  const words = String(value);
  return words.length > WORDS_SHOWN_CHARS_MAX ? `${words.slice(0, WORDS_SHOWN_CHARS_MAX)}…` : words;
}

function bytes(size) {
  return size < 1000 ? `${size} B` : `${(size / 1000).toFixed(1)} kB`;
}

function duration(ms) {
  if (ms === null) return '–';
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  return ms < 1000 ? `${Number(ms.toPrecision(3))} ms` : `${(ms / 1000).toFixed(1)} s`;
}
