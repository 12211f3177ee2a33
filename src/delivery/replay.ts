import { writeAudit } from '../audit/write.ts';
import type { Database } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid } from '../ids.ts';
import { type Bus, topics } from '../live/bus.ts';
import { changeStatistics } from './statistics-deltas.ts';
import { isTerminal, type LogStatus } from './status.ts';

/** SQL, because the dispatcher changes this table in batches without entities; see `claim.ts`. */
const LOCK_LOG = `select status, event_id as "eventId", error_code as "errorCode", is_reduced as "isReduced"
  from notification_log
  where tenant_id = $1 and id = $2 for update`;

const UNCOUNT_LOG = changeStatistics(
  'remove',
  '(select * from notification_log where tenant_id = $1 and id = $2) as log',
);

/** Makes the record due again, with every field that the dispatcher reads reset. */
const REQUEUE_LOG = `update notification_log
  set status = 'queued', due_at = now(), scheduled_at = now(), error_code = null, error_message = null,
      route = null, step = 0, step_attempts = 0, provider = null, excluded_providers = '{}', claims = 0, unknown_since = null,
      updated_at = now()
  where tenant_id = $1 and id = $2`;

/**
 * Puts a notification that ended without being sent back into the queue, at the start of its route. Writes an audit event.
 * A notification that is already in the queue is not changed, so that two calls send it once.
 *
 * @throws `not_found`; `conflict` if it was sent, or if its address or variables were not stored.
 */
export async function retryNotification(
  { database, bus }: { database: Database; bus: Bus },
  actor: Actor,
  logId: string,
  traceId: string,
): Promise<void> {
  const { tenantId } = actor;
  const isQueued = await database.asTenant(tenantId, async (tx) => {
    const [log] = isUuid(logId)
      ? await tx.query<{ status: LogStatus; eventId: string; errorCode: string | null; isReduced: boolean }>(LOCK_LOG, [
          tenantId,
          logId,
        ])
      : [];
    if (!log) throw new AppError('not_found', `No delivery record has the id ${JSON.stringify(logId.slice(0, 64))}.`);
    if (!isTerminal(log.status)) return false;
    if (log.status === 'sent' || log.status === 'sent_fallback') {
      throw new AppError('conflict', 'The notification has already been sent. Post a new event to send another one.');
    }
    if (log.isReduced) {
      throw new AppError('conflict', 'The params or the address of the notification were not kept. Post a new event.');
    }
    await tx.query(UNCOUNT_LOG, [tenantId, logId]);
    await tx.query(REQUEUE_LOG, [tenantId, logId]);
    const details = { log_id: logId, event_id: log.eventId, was: log.status, error_code: log.errorCode };
    await writeAudit(tx, { actor, traceId, action: 'notification.replayed', details });
    return true;
  });
  if (!isQueued) return;
  bus.publish(topics.due, null);
  bus.publish(topics.logs(tenantId), [logId]);
}
