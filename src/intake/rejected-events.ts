import { LockMode } from '@mikro-orm/core';

import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid } from '../ids.ts';
import { findPage, idCursor, keysetQuery, type Page, type PageArgs, toPage } from '../paging/page.ts';
import type { Input, Intake } from './intake.ts';
import { type RejectedEvent, RejectedEventEntity } from './rejected-event.entity.ts';

/**
 * Parses a rejected input again, and returns a rejection when it is not of `allowedTenant` (undefined allows every tenant).
 * An event that needs no notification is applied and gives `applied`. The entry points provide it.
 */
export type Reparse = (event: RejectedEvent, allowedTenant: string | undefined) => Promise<Input | 'applied'>;

export interface RejectedEvents {
  /** Lists the tenant's rejected events, newest first. A superadmin also sees those without a tenant. */
  list(actor: Actor, args: PageArgs): Promise<Page<RejectedEvent>>;
  /**
   * Parses an event again and accepts it. Audited. A repeated call returns the first result.
   * @throws `not_found`, or `validation_failed` when the event is still invalid.
   */
  replay(actor: Actor, id: string, traceId: string): Promise<RejectedEvent>;
}

export interface RejectedEventsOptions {
  database: Database;
  intake: Intake;
  reparse: Reparse;
}

export function createRejectedEvents({ database, intake, reparse }: RejectedEventsOptions): RejectedEvents {
  const within = <T>(actor: Actor, work: (tx: Transaction) => Promise<T>): Promise<T> =>
    actor.isSuperadmin ? database.asWorker(work) : database.asTenant(actor.tenantId, work);
  // Row-level security limits the transaction of a tenant. That of a superadmin sees all tenants, so each query filters
  // by tenant.
  const visibleTo = ({ tenantId, isSuperadmin }: Actor) =>
    isSuperadmin ? { $or: [{ tenantId }, { tenantId: null }] } : { tenantId };
  const find = async ({ em }: Transaction, actor: Actor, id: string, lockMode?: LockMode): Promise<RejectedEvent> => {
    const event = isUuid(id)
      ? await em.findOne(RejectedEventEntity, { ...visibleTo(actor), id }, lockMode ? { lockMode } : {})
      : null;
    if (!event) throw new AppError('not_found', `No rejected event has the id ${JSON.stringify(id.slice(0, 64))}.`);
    return event;
  };

  return {
    list: (actor, args) => {
      const query = keysetQuery(args, idCursor);
      const { where, options } = findPage(query);
      return within(actor, async ({ em }) =>
        toPage(await em.find(RejectedEventEntity, { ...where, ...visibleTo(actor) }, options), query),
      );
    },
    replay: async (actor, id, traceId) => {
      const event = await within(actor, (tx) => find(tx, actor, id));
      if (event.replayedAt !== null) return event;
      const input = await reparse(event, actor.isSuperadmin ? undefined : actor.tenantId);
      if (input !== 'applied' && input.kind === 'rejection') {
        const { reason, message } = input.rejection;
        await within(actor, async (tx) => {
          Object.assign(await find(tx, actor, id), { reason, message });
        });
        throw new AppError('validation_failed', `The event is still invalid: ${message}`, {
          details: { fields: [{ path: reason === 'tenant_mismatch' ? 'tenant_id' : 'id', message }] },
        });
      }
      // A crash after this line may repeat it, but an event id has at most one delivery record.
      const [outcome] = input === 'applied' ? [] : await intake.take([input]);
      const logId = outcome?.kind === 'accepted' ? outcome.logId : null;
      return within(actor, async (tx) => {
        const rejected = await find(tx, actor, id, LockMode.PESSIMISTIC_WRITE);
        if (rejected.replayedAt !== null) return rejected;
        Object.assign(rejected, { replayedAt: new Date(), replayedLogId: logId, replayedBy: actor.userId });
        const details = { rejected_event_id: id, log_id: logId };
        await writeAudit(tx, { actor, traceId, action: 'notification.replayed', details });
        return rejected;
      });
    },
  };
}
