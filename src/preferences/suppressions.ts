import { createHash } from 'node:crypto';

import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid, newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import { maskAddress } from '../intake/mask.ts';
import { checkRecipient, recipientOf } from '../intake/recipient.ts';
import { idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';

export const SUPPRESSION_REASONS = ['hard_bounce', 'complaint', 'unsubscribed', 'manual'] as const;
export type SuppressionReason = (typeof SUPPRESSION_REASONS)[number];

/** An address that is not to be used any more. */
export interface SuppressionEntry {
  tenantId: string;
  channel: Channel;
  address: string;
  /** Empty: of every category. */
  category: string;
  reason: SuppressionReason;
  sourceLogId: string | null;
  createdBy: string | null;
}

/** The same as admins see it. */
export interface Suppression {
  id: string;
  channel: Channel;
  addressMasked: string;
  category: string;
  reason: SuppressionReason;
  sourceLogId: string | null;
  createdBy: string | null;
  createdAt: Date;
}

export interface Suppressions {
  list(tenantId: string, args: PageArgs): Promise<Page<Suppression>>;
  /**
   * Adds an address, or gives back the entry that there is; audited.
   * @throws `validation_failed` naming the field.
   */
  add(
    actor: Actor,
    subject: { channel: Channel; address: string; category?: string },
    traceId: string,
  ): Promise<Suppression>;
  /** Lets an address be used again; audited. @throws `not_found` */
  remove(actor: Actor, id: string, traceId: string): Promise<Suppression>;
}

/** What an address is known by: never the address itself, and another value in every tenant. */
export const addressHash = (tenantId: string, channel: Channel, address: string): string =>
  createHash('sha256')
    .update(JSON.stringify([tenantId, channel, channel === 'email' ? address.toLowerCase() : address]))
    .digest('hex');

/**
 * One statement for any number of entries; what is known already stays as it is.
 * @returns how many are new.
 */
export async function insertSuppressions(tx: Transaction, entries: SuppressionEntry[]): Promise<number> {
  if (entries.length === 0) return 0;
  const rows = entries.map(({ tenantId, channel, address, category, reason, sourceLogId, createdBy }) => ({
    id: newId(),
    tenant_id: tenantId,
    channel,
    address_hash: addressHash(tenantId, channel, address),
    address_masked: maskAddress(address),
    category,
    reason,
    source_log_id: sourceLogId,
    created_by: createdBy,
  }));
  const added = await tx.query(
    `insert into suppression (id, tenant_id, channel, address_hash, address_masked, category, reason, source_log_id,
       created_by)
     select id, tenant_id, channel, address_hash, address_masked, category, reason, source_log_id, created_by
     from jsonb_to_recordset($1::jsonb) as entry (id uuid, tenant_id text, channel text, address_hash text,
       address_masked text, category text, reason text, source_log_id uuid, created_by text)
     order by tenant_id, channel, address_hash, category
     on conflict (tenant_id, channel, address_hash, category) do nothing
     returning id`,
    [JSON.stringify(rows)],
  );
  return added.length;
}

const COLUMNS = `id, channel, address_masked as "addressMasked", category, reason, source_log_id as "sourceLogId",
  created_by as "createdBy", created_at as "createdAt"`;

export function createSuppressions(database: Database): Suppressions {
  return {
    list: (tenantId, args) => {
      const query = keysetQuery(args, idCursor);
      return database.asTenant(tenantId, async (tx) => {
        const values = [tenantId];
        const rows = await tx.query<Suppression>(
          `select ${COLUMNS} from suppression where tenant_id = $1 ${pageOf('id', query, values)}`,
          values,
        );
        return toPage(rows, query);
      });
    },
    add: (actor, { channel, address, category = '' }, traceId) => {
      const problems = checkRecipient(recipientOf(channel, address), () => 'input.address');
      if (problems.length > 0) throw validationFailed(problems);
      const { tenantId, userId } = actor;
      return database.asTenant(tenantId, async (tx) => {
        const find = () =>
          tx.query<Suppression>(
            `select ${COLUMNS} from suppression
             where tenant_id = $1 and channel = $2 and address_hash = $3 and category = $4`,
            [tenantId, channel, addressHash(tenantId, channel, address), category],
          );
        const [known] = await find();
        if (known) return known;
        const entry = {
          tenantId,
          channel,
          address,
          category,
          reason: 'manual',
          sourceLogId: null,
          createdBy: userId,
        } as const;
        await insertSuppressions(tx, [entry]);
        const [added] = await find();
        if (!added) throw new AppError('internal', 'the suppression was not found');
        await writeAudit(tx, {
          actor,
          traceId,
          action: 'notification.config.updated',
          details: { suppressed: shown(added) },
        });
        return added;
      });
    },
    remove: (actor, id, traceId) =>
      database.asTenant(actor.tenantId, async (tx) => {
        const [removed] = isUuid(id)
          ? await tx.query<Suppression>(
              `delete from suppression where tenant_id = $1 and id = $2 returning ${COLUMNS}`,
              [actor.tenantId, id],
            )
          : [];
        if (!removed) throw new AppError('not_found', 'There is no such entry on the suppression list.');
        const details = { unsuppressed: shown(removed) };
        await writeAudit(tx, { actor, traceId, action: 'notification.config.updated', details });
        return removed;
      }),
  };
}

const shown = ({ id, channel, addressMasked, category, reason }: Suppression) => ({
  id,
  channel,
  address: addressMasked,
  category,
  reason,
});
