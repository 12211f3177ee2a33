import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid } from '../ids.ts';
import { idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';
import type { Input, Intake } from './intake.ts';
import type { RejectionReason } from './reject.ts';

/** An input that could not become a notification, as operators see it. */
export interface RejectedEvent {
  id: string;
  tenantId: string | null;
  eventType: string | null;
  reason: RejectionReason;
  message: string;
  raw: Buffer;
  headers: Record<string, string>;
  source: 'kafka' | 'http';
  topic: string | null;
  partition: number | null;
  offset: string | null;
  receivedAt: Date;
  replayedAt: Date | null;
  replayedLogId: string | null;
}

/** Parses a rejected input with the parsers of today; `applied` where there was nothing to store. A door gives it. */
export type Reparse = (event: RejectedEvent) => Promise<Input | 'applied'>;

export interface RejectedEvents {
  /** Of the tenant, newest first; for a superadmin also those that say of no tenant. */
  list(actor: Actor, args: PageArgs): Promise<Page<RejectedEvent>>;
  /**
   * Takes an event in after all; audited. Doing it again gives back the same.
   * @throws `not_found`, or `validation_failed` where it is still refused.
   */
  replay(actor: Actor, id: string, traceId: string): Promise<RejectedEvent>;
}

export interface RejectedEventsOptions {
  database: Database;
  intake: Intake;
  reparse: Reparse;
}

const COLUMNS = `id, tenant_id as "tenantId", event_type as "eventType", reason, message, raw, headers, source, topic,
  partition, "offset"::text as "offset", received_at as "receivedAt", replayed_at as "replayedAt",
  replayed_log_id as "replayedLogId"`;
/** The wall of the database shows one tenant's rows; past it, for a superadmin, each statement says whose they are. */
const IS_VISIBLE = '(tenant_id = $1 or ($2 and tenant_id is null))';

export function createRejectedEvents({ database, intake, reparse }: RejectedEventsOptions): RejectedEvents {
  const within = <T>(actor: Actor, work: (tx: Transaction) => Promise<T>): Promise<T> =>
    actor.isSuperadmin ? database.asWorker(work) : database.asTenant(actor.tenantId, work);

  const find = async (tx: Transaction, actor: Actor, id: string): Promise<RejectedEvent> => {
    const [event] = isUuid(id)
      ? await tx.query<RejectedEvent>(`select ${COLUMNS} from rejected_event where ${IS_VISIBLE} and id = $3`, [
          actor.tenantId,
          actor.isSuperadmin,
          id,
        ])
      : [];
    if (!event) throw new AppError('not_found', 'There is no such rejected event.');
    return event;
  };

  return {
    list: (actor, args) => {
      const query = keysetQuery(args, idCursor);
      return within(actor, async (tx) => {
        const values = [actor.tenantId, actor.isSuperadmin];
        const rows = await tx.query<RejectedEvent>(
          `select ${COLUMNS} from rejected_event where ${IS_VISIBLE} ${pageOf('id', query, values)}`,
          values,
        );
        return toPage(rows, query);
      });
    },
    replay: async (actor, id, traceId) => {
      const event = await within(actor, (tx) => find(tx, actor, id));
      if (event.replayedAt !== null) return event;
      const input = await reparse(event);
      if (input !== 'applied' && input.kind === 'rejection') {
        const { reason, message } = input.rejection;
        await within(actor, (tx) =>
          tx.query('update rejected_event set reason = $2, message = $3 where id = $1', [id, reason, message]),
        );
        throw new AppError('validation_failed', `The event is still refused: ${message}`, {
          details: { fields: [{ path: 'id', message }] },
        });
      }
      if (
        input !== 'applied' &&
        input.kind === 'command' &&
        input.command.tenantId !== actor.tenantId &&
        !actor.isSuperadmin
      ) {
        throw new AppError('validation_failed', 'The event is of another tenant than the one that it was sent for.', {
          details: { fields: [{ path: 'tenant_id', message: 'is not the tenant of the token' }] },
        });
      }
      // However often this comes so far and dies: the event has one delivery record.
      const [outcome] = input === 'applied' ? [] : await intake.take([input]);
      const logId = outcome?.kind === 'accepted' ? outcome.logId : null;
      return within(actor, async (tx) => {
        const changed = await tx.query(
          `update rejected_event set replayed_at = now(), replayed_log_id = $2, replayed_by = $3
           where id = $1 and replayed_at is null returning id`,
          [id, logId, actor.userId],
        );
        const details = { rejected_event_id: id, log_id: logId };
        if (changed.length > 0) await writeAudit(tx, { actor, traceId, action: 'notification.replayed', details });
        return find(tx, actor, id);
      });
    },
  };
}
