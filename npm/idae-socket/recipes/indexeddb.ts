// IndexedDB: an object store that mirrors an entity, for use without a connection.

import { onChange, type EventDataClientInstance } from '@medyll/idae-socket/client';

type Id = string | number;

/** Where the rows come from; the store has the entity's name, and `id` as its key. */
export interface Source<Row> {
  one: (id: Id) => Promise<Row | undefined>;
  all: () => Promise<Row[]>;
  /** Called after each change of the store. */
  onWritten?: () => void;
}

/** Fills the store and keeps it up to date. Returns what ends it. */
export function mirror<Row extends { id: Id }>(
  client: EventDataClientInstance,
  database: IDBDatabase,
  entity: string,
  { one, all, onWritten }: Source<Row>,
) {
  // One after the other: a slow answer must not overwrite a newer one.
  let last = Promise.resolve();
  const inTurn = (work: () => Promise<void>) => {
    last = last.then(work).then(onWritten, (error) => console.error(`cannot mirror ${entity}:`, error));
  };
  const write = (change: (store: IDBObjectStore) => void) =>
    new Promise<void>((resolve, reject) => {
      const transaction = database.transaction(entity, 'readwrite');
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      change(transaction.objectStore(entity));
    });

  const fill = async () => {
    const rows = await all();
    await write((store) => {
      store.clear();
      for (const row of rows) store.put(row);
    });
  };
  const update = async (id: Id, action: string) => {
    const row = action === 'delete' ? undefined : await one(id);
    await write((store) => (row ? store.put(row) : store.delete(id)));
  };

  const end = onChange(
    client,
    { event: 'db-change', entity, onMissed: () => inTurn(fill) },
    ({ id, action }) => inTurn(() => (id === undefined ? fill() : update(id, action))),
  );
  inTurn(fill);
  return end;
}
