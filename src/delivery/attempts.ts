import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { ClaimedLog } from './claim.ts';

export interface OpenedAttempt {
  log: ClaimedLog;
  channel: Channel;
  provider: string;
  /** Where on the delivery's route it stands. */
  route: Channel[];
  step: number;
}

/**
 * Writes down, before any provider is called, that it is about to be, and counts it. One statement for the whole batch.
 * A row whose lease was lost meanwhile is somebody else's now: no attempt is opened for it and it must not be sent.
 *
 * @returns the ids of the rows that are still ours.
 */
export async function openAttempts(database: Database, attempts: OpenedAttempt[]): Promise<ReadonlySet<string>> {
  if (attempts.length === 0) return new Set();
  const rows = attempts.map(({ log, channel, provider, route, step }) => ({
    log_id: log.id,
    lease_token: log.leaseToken,
    number: log.attempts + 1,
    tenant_id: log.tenantId,
    channel,
    provider,
    route,
    step,
    step_attempts: step === log.step ? log.stepAttempts + 1 : 1,
  }));
  const opened = await database.asWorker((tx) =>
    tx.query<{ id: string }>(
      `with attempt as (
         select * from jsonb_to_recordset($1::jsonb) as attempt (log_id uuid, lease_token uuid, number int,
           tenant_id text, channel text, provider text, route text[], step smallint, step_attempts smallint)
       ), held as (
         update notification_log log
         set attempts = attempt.number, channel = attempt.channel, provider = attempt.provider, route = attempt.route,
             step = attempt.step, step_attempts = attempt.step_attempts
         from attempt
         where log.id = attempt.log_id and log.lease_token = attempt.lease_token and log.status = 'sending'
         returning log.id
       ), opened as (
         insert into delivery_attempt (log_id, number, tenant_id, channel, provider)
         select log_id, number, tenant_id, channel, provider from attempt join held on held.id = attempt.log_id
       )
       select id from held`,
      [JSON.stringify(rows)],
    ),
  );
  return new Set(opened.map((row) => row.id));
}
