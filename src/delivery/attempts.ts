import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { ClaimedLog } from './claim.ts';

export interface OpenedAttempt {
  log: ClaimedLog;
  channel: Channel;
  provider: string;
  /** Channels of the delivery, in order; `step` is the index of this attempt's channel. */
  route: Channel[];
  step: number;
}

/** One statement opens the attempts of a whole batch, and only of rows whose lease is still held. */
const OPEN_ATTEMPTS = `with attempt as (
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
  select id from held`;

/**
 * Inserts an attempt for each row before its provider is called, so that a crash during the call leaves a trace. Runs one
 * statement for the whole batch. A row whose lease was lost belongs to another process: it gets no attempt and must not be
 * sent.
 *
 * @returns the ids of the rows whose lease this process still holds.
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
  const opened = await database.asWorker((tx) => tx.query<{ id: string }>(OPEN_ATTEMPTS, [JSON.stringify(rows)]));
  return new Set(opened.map((row) => row.id));
}
