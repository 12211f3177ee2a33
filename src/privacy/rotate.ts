import type { Database } from '../database/database.ts';
import type { Keyring, Sealed } from '../keyring.ts';
import { isSealedSecret } from '../tenants/secrets.ts';

const BATCH = 1_000;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * Encrypts values again that were encrypted with an older key. Each batch is a separate transaction, so that an
 * interrupted rotation can be started again. Until then the older keys decrypt the rest.
 *
 * @returns the number of channel configurations and delivery records that were encrypted again.
 * @throws when a needed key is missing.
 */
export async function rotateKeys(database: Database, keyring: Keyring): Promise<{ channels: number; records: number }> {
  if (keyring.currentKey === undefined) throw new Error('DATA_KEYS is not set, so there is no key to encrypt with');
  return { channels: await rotateChannels(database, keyring), records: await rotateRecords(database, keyring) };
}

const again = (sealed: Sealed, tenantId: string, keyring: Keyring): Sealed =>
  sealed.key === keyring.currentKey ? sealed : keyring.seal(keyring.open(sealed, tenantId), tenantId);

function resealed(value: unknown, tenantId: string, keyring: Keyring): unknown {
  if (isSealedSecret(value)) return { $sealed: again(value.$sealed, tenantId, keyring) };
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resealed(item, tenantId, keyring)]));
}

/** Reads over all tenants in batches, so that memory stays bounded. */
const SELECT_CONFIGS = `select id, tenant_id as "tenantId", config from channel_config
  where id > $1 and config::text like '%"$sealed"%' order by id limit ${BATCH}`;

/** Does not overwrite a configuration that an admin saves at the same time, and does not count as a version. */
const REPLACE_CONFIG = 'update channel_config set config = $2 where id = $1 and config = $3::jsonb returning 1';

async function rotateChannels(database: Database, keyring: Keyring): Promise<number> {
  let count = 0;
  for (let after = FIRST; ;) {
    const rows = await database.asWorker((tx) =>
      tx.query<{ id: string; tenantId: string; config: unknown }>(SELECT_CONFIGS, [after]),
    );
    for (const { id, tenantId, config } of rows) {
      const fresh = JSON.stringify(resealed(config, tenantId, keyring));
      if (fresh === JSON.stringify(config)) continue;
      const changed = await database.asTenant(tenantId, (tx) =>
        tx.query(REPLACE_CONFIG, [id, fresh, JSON.stringify(config)]),
      );
      count += changed.length;
    }
    const last = rows.at(-1);
    if (!last) return count;
    after = last.id;
  }
}

/** Reads over all tenants in batches, so that memory stays bounded. */
const SELECT_RECIPIENTS = `select id, tenant_id as "tenantId", recipient->'sealed' as sealed from notification_log
  where id > $1 order by id limit ${BATCH}`;

/** One statement for the changed recipients of a batch. */
const REPLACE_RECIPIENTS = `update notification_log log set recipient = jsonb_set(log.recipient, '{sealed}', input.sealed)
  from jsonb_to_recordset($1::jsonb) as input (id uuid, sealed jsonb)
  where log.id = input.id and log.recipient ? 'sealed'`;

async function rotateRecords(database: Database, keyring: Keyring): Promise<number> {
  let count = 0;
  for (let after = FIRST; ;) {
    const { last, changed } = await database.asWorker(async (tx) => {
      const rows = await tx.query<{ id: string; tenantId: string; sealed: Sealed | null }>(SELECT_RECIPIENTS, [after]);
      const old = rows.filter(({ sealed }) => sealed !== null && sealed.key !== keyring.currentKey);
      const fresh = old.map(({ id, tenantId, sealed }) => ({ id, sealed: again(sealed as Sealed, tenantId, keyring) }));
      if (fresh.length > 0) {
        await tx.query(REPLACE_RECIPIENTS, [JSON.stringify(fresh)]);
      }
      return { last: rows.at(-1)?.id, changed: fresh.length };
    });
    count += changed;
    if (last === undefined) return count;
    after = last;
  }
}
