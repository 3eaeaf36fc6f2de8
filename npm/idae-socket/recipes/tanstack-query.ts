// TanStack Query: a change refetches the queries that show it.
// Keys are ['users'] for lists and ['users', 123] for one record, with anything behind them.

import type { QueryClient } from '@tanstack/react-query';
import { onChange, type EventDataClientInstance } from '@medyll/idae-socket/client';

export function refetchOnChange(client: EventDataClientInstance, queries: QueryClient, entity: string) {
  return onChange(
    client,
    {
      event: 'db-change',
      entity,
      // Away for a while: nobody knows what has changed, so everything of the entity is stale.
      onMissed: () => void queries.invalidateQueries({ queryKey: [entity] }),
    },
    (change) =>
      void queries.invalidateQueries({
        queryKey: [entity],
        // Lists may show any record; the queries of other records are left alone.
        predicate: ({ queryKey: [, id] }) => typeof id !== 'number' || id === change.id,
      }),
  );
}
