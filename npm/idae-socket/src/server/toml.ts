// The configuration object as the text of a TOML file.

type Value = string | number | boolean | readonly Value[] | { readonly [key: string]: Value | undefined };

/** Writes the object; keys that are `undefined` are left out. The gateway judges what is in it. */
export function toToml(configuration: object): string {
  return table('', Object.entries(configuration as { [key: string]: Value | undefined }));
}

/** First the plain values: in TOML everything below a heading belongs to it. */
function table(path: string, entries: [string, Value | undefined][]): string {
  const given = entries.filter((entry): entry is [string, Value] => entry[1] !== undefined);
  const plain = given.filter(([, value]) => !isTable(value));
  const tables = given.filter(([, value]) => isTable(value));
  const lines = plain.map(([name, value]) => `${key(name)} = ${inline(value, path + name)}\n`).join('');
  return (
    lines +
    tables
      .map(([name, value]) => {
        const inner = path + key(name);
        return `\n[${inner}]\n${table(`${inner}.`, Object.entries(value))}`;
      })
      .join('')
  );
}

function inline(value: Value, path: string): string {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'boolean' || Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return `[${value.map((entry) => inline(entry, path)).join(', ')}]`;
  if (isTable(value)) {
    const entries = Object.entries(value).filter((entry): entry is [string, Value] => entry[1] !== undefined);
    return `{ ${entries.map(([name, entry]) => `${key(name)} = ${inline(entry, path)}`).join(', ')} }`;
  }
  throw new TypeError(`\`${path}\` is ${String(value)}, which no setting can be`);
}

function isTable(value: Value): value is { readonly [key: string]: Value | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const key = (name: string): string => (/^[A-Za-z0-9_-]+$/.test(name) ? name : text(name));

/** JSON's escapes are TOML's, but for one character that TOML does not take as it is. */
const text = (value: string): string => JSON.stringify(value).replaceAll('\x7f', '\\u007f');
