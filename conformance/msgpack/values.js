// Every kind of JSON value, as text, by name: at the borders of msgpack's forms, and beyond what
// one of the two formats can say.

const many = (count, item) => Array.from({ length: count }, (_, i) => item(i));
const array = (count) => `[${many(count, () => '0').join()}]`;
const object = (count) => `{${many(count, (i) => `"${i.toString(36)}_":0`).join()}}`;
const nested = (levels) => `${'[{"k":'.repeat(levels)}1${'}]'.repeat(levels)}`;

const NUMBERS = [
  '0', '1', '-1', '127', '128', '255', '256', '32767', '32768', '65535', '65536', '2147483647', '2147483648',
  '4294967295', '4294967296', '9007199254740991', '-32', '-33', '-127', '-128', '-129', '-32768', '-32769',
  '-2147483648', '-2147483649', '-9007199254740991', '1.5', '-0.25', '0.1', '1e-7', '5e-324',
  '100.0', '1e2', '1E+2', '-1.0', '123456789.123456789',
  // Beyond 2^53: the nearest number that JavaScript has.
  '9007199254740993', '-9007199254740993', '9223372036854775807', '9223372036854775808', '-9223372036854775808',
];

const LARGE_NUMBERS = [
  '1e300', '-1e300', '1.7976931348623157e308', '3.4028235e38', '-9223372036854777856', '18446744073709551615',
  '18446744073709551616', '-18446744073709551616', `1${'0'.repeat(40)}`, '1e22',
];

const TEXTS = {
  'the empty string': '',
  'characters of all lengths': 'aé€😀',
  'an emoji of several characters': '👩‍👩‍👧‍👦🇫🇷',
  'line and paragraph separators': '\u2028\u2029',
  'control characters': String.fromCharCode(...many(32, (i) => i), 127),
  'quotes and backslashes': '"\\/\'`\\u0041',
  'text that looks like a packet': '42["message"]',
  'the packet separator': '\u001e',
};

const named = (numbers) => Object.fromEntries(numbers.map((number) => [`the number ${number.slice(0, 30)}`, number]));

/** What no integer of msgpack can hold. The stock parser writes 0 instead, so no stock client can send it. */
export const LARGE = named(LARGE_NUMBERS);

export const VALUES = {
  null: 'null',
  true: 'true',
  false: 'false',
  ...named(NUMBERS),
  ...Object.fromEntries(Object.entries(TEXTS).map(([name, text]) => [name, JSON.stringify(text)])),
  'escapes instead of characters': '"\\u0041\\u00e9\\ud83d\\ude00\\/\\b\\f"',
  ...Object.fromEntries([31, 32, 255, 256, 65535, 65536].map((bytes) => [`a text of ${bytes} bytes`, JSON.stringify('x'.repeat(bytes))])),
  // Lengths count bytes, not characters.
  'a text of 16 characters in 32 bytes': JSON.stringify('é'.repeat(16)),
  'a text of 64 emojis in 256 bytes': JSON.stringify('😀'.repeat(64)),
  'an empty array': '[]',
  'an empty object': '{}',
  'empty things in things': '[[],{},[[]],[{}],{"a":[],"b":{}},"",null]',
  ...Object.fromEntries([15, 16, 65535, 65536].map((count) => [`an array of ${count}`, array(count)])),
  ...Object.fromEntries([15, 16, 65535, 65536].map((count) => [`an object of ${count}`, object(count)])),
  'an object of arrays of objects': '{"a":[{"b":[1,"2",{"c":null}]},[]],"d":{"e":{"f":[true,false]}}}',
  'odd keys': '{"":1," ":2,"a.b":3,"$":4,"toString":5,"constructor":6,"hasOwnProperty":7,"length":8,"é😀":9,"\\u0041":10}',
  'a key of 300 bytes': JSON.stringify({ ['k'.repeat(300)]: 1 }),
  'keys like numbers': '{"b":1,"10":2,"9":3,"a":4}',
  'the same key twice': '{"a":1,"b":2,"a":3}',
  'the keys of a packet': '{"type":2,"data":["x"],"id":0,"nsp":"/"}',
  'what looks like an attachment': '{"_placeholder":true,"num":0}',
  'what looks like several attachments': '[{"_placeholder":true,"num":1},{"num":0,"_placeholder":true},{"_placeholder":true}]',
  'blanks between': ' { "a" : [ 1 , 2 ,\n\t{ } ] } ',
  '60 levels': nested(30),
};
