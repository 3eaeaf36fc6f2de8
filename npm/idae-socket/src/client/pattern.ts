// Event names as the gateway's configuration writes them.

/** `*` is any text, `:name` between slashes is one segment. */
export function matches(pattern: string, name: string): boolean {
  const segments = pattern.split('/').map((segment) =>
    segment.startsWith(':') && segment.length > 1
      ? '[^/]+'
      : segment.split('*').map(literally).join('.*'),
  );
  return new RegExp(`^${segments.join('/')}$`, 's').test(name);
}

function literally(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
