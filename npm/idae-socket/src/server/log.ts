// What the gateway writes about itself, line by line.

export interface LogEntry {
  /** `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`. */
  level: string;
  message: string;
  /** The line as the gateway wrote it. */
  line: string;
  /** What else the line tells, when `log.format` is JSON. */
  fields: Record<string, unknown>;
}

export function readLine(line: string): LogEntry {
  if (line.startsWith('{')) {
    try {
      const { level, message, ...fields } = JSON.parse(line);
      if (typeof level === 'string') return { level, message: String(message ?? ''), line, fields };
    } catch {
      // A line of text that happens to begin so.
    }
  }
  const [, level] = /\b(ERROR|WARN|INFO|DEBUG|TRACE)\b/.exec(line) ?? [];
  return { level: level ?? 'INFO', message: line, line, fields: {} };
}

/** A line of the log, as opposed to a word to whoever started the gateway: JSON, or a time in front. */
export function isLogged(line: string): boolean {
  return /^(\{|\d{4}-\d\d-\d\dT)/.test(line);
}

/** A readable stream. */
interface Text {
  setEncoding(encoding: 'utf8'): unknown;
  on(event: 'data', listener: (chunk: string) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

/** Cuts a stream into lines; the last one may lack its end. */
export function eachLine(stream: Text, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
  });
  stream.on('end', () => {
    if (rest) take(rest);
    rest = '';
  });
}
