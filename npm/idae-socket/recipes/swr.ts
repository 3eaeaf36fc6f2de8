// SWR: a change fetches again what is mounted and shows it.
// Keys are URLs: /api/users and /api/users?page=2 for lists, /api/users/123 for one record.

import type { ScopedMutator } from 'swr';
import { onChange, type EventDataClientInstance } from '@medyll/idae-socket/client';

/** `mutate` is SWR's: the global one, or that of `useSWRConfig()`. */
export function revalidateOnChange(client: EventDataClientInstance, mutate: ScopedMutator, entity: string) {
  const shown = (key: unknown) => recordOf(key, `/api/${entity}`);
  return onChange(
    client,
    {
      event: 'db-change',
      entity,
      // Away for a while: nobody knows what has changed.
      onMissed: () => void mutate((key) => shown(key) !== undefined),
    },
    // Lists may show any record; what shows other records is left alone.
    ({ id }) => void mutate((key) => shown(key) === '' || shown(key) === String(id)),
  );
}

/** The record that a key shows, '' for a list; undefined when it is of something else. */
function recordOf(key: unknown, url: string): string | undefined {
  const [path = ''] = String(key).split('?');
  if (path === url) return '';
  return path.startsWith(`${url}/`) ? path.slice(url.length + 1).split('/')[0] : undefined;
}
