import type { Database } from '../database/database.ts';
import type { ClaimedLog } from './claim.ts';

export interface OpenedAttempt {
  log: ClaimedLog;
  channel: string;
  provider: string;
}

/** Writes down, before any provider is called, that it is about to be. One statement for the whole batch. */
export async function openAttempts(database: Database, attempts: OpenedAttempt[]): Promise<void> {
  if (attempts.length === 0) return;
  const rows = attempts.map(({ log, channel, provider }) => ({
    log_id: log.id,
    number: log.attempts,
    tenant_id: log.tenantId,
    channel,
    provider,
  }));
  await database.asWorker((tx) =>
    tx.query(
      `insert into delivery_attempt (log_id, number, tenant_id, channel, provider)
       select log_id, number, tenant_id, channel, provider
       from jsonb_to_recordset($1::jsonb)
         as attempt (log_id uuid, number int, tenant_id text, channel text, provider text)`,
      [JSON.stringify(rows)],
    ),
  );
}
