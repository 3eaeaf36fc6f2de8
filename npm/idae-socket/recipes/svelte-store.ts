// Svelte: a store that loads itself again when its entity changes.
// In a component: const users = live(client, 'users', loadUsers), then {#each $users ?? [] as user}.

import { readable, type Readable } from 'svelte/store';
import { onChange, type EventDataClientInstance } from '@medyll/idae-socket/client';

export function live<T>(
  client: EventDataClientInstance,
  entity: string,
  load: () => Promise<T>,
): Readable<T | undefined> {
  return readable<T | undefined>(undefined, (set) => {
    let latest = 0;
    const refresh = async () => {
      const mine = (latest += 1);
      try {
        const value = await load();
        // An answer that was overtaken by a newer one would show the past.
        if (mine === latest) set(value);
      } catch (error) {
        console.error(`cannot load ${entity}:`, error);
      }
    };
    const end = onChange(client, { event: 'db-change', entity, onMissed: refresh }, refresh);
    void refresh();
    // The last subscriber has left: what is still on its way is of no interest.
    return () => {
      latest += 1;
      end();
    };
  });
}
