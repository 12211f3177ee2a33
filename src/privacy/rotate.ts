import type { Database } from '../database/database.ts';
import type { Keyring, Sealed } from '../keyring.ts';
import { isSealedSecret } from '../tenants/secrets.ts';

const BATCH = 1_000;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * Encrypts what lies under older keys with the current one. Every batch stands for itself: interrupted, it is done again
 * and goes on; meanwhile the older keys still open what is left.
 *
 * @returns how many settings of channels and delivery records were encrypted anew.
 * @throws where a key that is needed is not there.
 */
export async function rotateKeys(database: Database, keyring: Keyring): Promise<{ channels: number; records: number }> {
  if (keyring.currentKey === undefined) throw new Error('there is no key to encrypt with (DATA_KEYS)');
  return { channels: await rotateChannels(database, keyring), records: await rotateRecords(database, keyring) };
}

const again = (sealed: Sealed, tenantId: string, keyring: Keyring): Sealed =>
  sealed.key === keyring.currentKey ? sealed : keyring.seal(keyring.open(sealed, tenantId), tenantId);

function resealed(value: unknown, tenantId: string, keyring: Keyring): unknown {
  if (isSealedSecret(value)) return { $sealed: again(value.$sealed, tenantId, keyring) };
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resealed(item, tenantId, keyring)]));
}

async function rotateChannels(database: Database, keyring: Keyring): Promise<number> {
  let count = 0;
  for (let after = FIRST; ;) {
    const rows = await database.asWorker((tx) =>
      tx.query<{ id: string; tenantId: string; config: unknown }>(
        `select id, tenant_id as "tenantId", config from channel_config
         where id > $1 and config::text like '%"$sealed"%' order by id limit ${BATCH}`,
        [after],
      ),
    );
    for (const { id, tenantId, config } of rows) {
      const fresh = JSON.stringify(resealed(config, tenantId, keyring));
      if (fresh === JSON.stringify(config)) continue;
      // Not over what an admin has changed meanwhile: that is under the current key already.
      const changed = await database.asTenant(tenantId, (tx) =>
        tx.query('update channel_config set config = $2 where id = $1 and config = $3::jsonb returning 1', [
          id,
          fresh,
          JSON.stringify(config),
        ]),
      );
      count += changed.length;
    }
    const last = rows.at(-1);
    if (!last) return count;
    after = last.id;
  }
}

async function rotateRecords(database: Database, keyring: Keyring): Promise<number> {
  let count = 0;
  for (let after = FIRST; ;) {
    const { last, changed } = await database.asWorker(async (tx) => {
      const rows = await tx.query<{ id: string; tenantId: string; sealed: Sealed | null }>(
        `select id, tenant_id as "tenantId", recipient->'sealed' as sealed from notification_log
         where id > $1 order by id limit ${BATCH}`,
        [after],
      );
      const old = rows.filter(({ sealed }) => sealed !== null && sealed.key !== keyring.currentKey);
      const fresh = old.map(({ id, tenantId, sealed }) => ({ id, sealed: again(sealed as Sealed, tenantId, keyring) }));
      if (fresh.length > 0) {
        await tx.query(
          `update notification_log log set recipient = jsonb_set(log.recipient, '{sealed}', input.sealed)
           from jsonb_to_recordset($1::jsonb) as input (id uuid, sealed jsonb)
           where log.id = input.id and log.recipient ? 'sealed'`,
          [JSON.stringify(fresh)],
        );
      }
      return { last: rows.at(-1)?.id, changed: fresh.length };
    });
    count += changed;
    if (last === undefined) return count;
    after = last;
  }
}
