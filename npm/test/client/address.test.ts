import { expect, test } from 'vitest';
import { EventDataConfig } from '@medyll/idae-socket/client';
import { gatewayUrl } from '../../idae-socket/src/client/config.js';

const url = (given: Partial<EventDataConfig>) => gatewayUrl(new EventDataConfig(given));

test.each<[Partial<EventDataConfig>, string]>([
  [{}, 'http://localhost:4000/'],
  [{ host: 'http://localhost', port: 4000 }, 'http://localhost:4000/'],
  [{ host: 'localhost', port: 4000 }, 'http://localhost:4000/'],
  [{ host: 'localhost' }, 'http://localhost:4000/'],
  [{ host: 'http://localhost/' }, 'http://localhost:4000/'],
  [{ host: 'localhost:8080' }, 'http://localhost:8080/'],
  [{ host: 'http://localhost:8080' }, 'http://localhost:8080/'],
  [{ host: 'http://localhost:8080', port: 9 }, 'http://localhost:9/'],
  [{ host: 'https://events.example.com' }, 'https://events.example.com:443/'],
  [{ host: 'https://events.example.com', port: 8443 }, 'https://events.example.com:8443/'],
  [{ host: 'wss://events.example.com' }, 'https://events.example.com:443/'],
  [{ host: 'HTTP://LOCALHOST' }, 'http://LOCALHOST:4000/'],
  [{ host: ' 127.0.0.1 ' }, 'http://127.0.0.1:4000/'],
  [{ host: '::1' }, 'http://[::1]:4000/'],
  [{ host: '[::1]' }, 'http://[::1]:4000/'],
  [{ host: '[::1]:80' }, 'http://[::1]:80/'],
  [{ namespace: '/shop' }, 'http://localhost:4000/shop'],
  [{ namespace: 'shop' }, 'http://localhost:4000/shop'],
  [{ namespace: '' }, 'http://localhost:4000/'],
])('%j is %s', (given, expected) => {
  expect(url(given)).toBe(expected);
});

test('a misspelt option is named', () => {
  expect(() => new EventDataConfig({ prot: 1 } as object)).toThrow(/no option `prot`.*host, port,/);
});

test.each<[Partial<EventDataConfig>, RegExp]>([
  [{ host: 'ftp://localhost' }, /scheme `ftp`/],
  [{ host: 'http://localhost/shop' }, /path `\/shop`.*config\.namespace/],
  [{ host: '' }, /empty/],
  [{ host: 'http://' }, /empty/],
])('%j is refused', (given, expected) => {
  expect(() => url(given)).toThrow(expected);
});
