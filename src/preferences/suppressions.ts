import { createHash } from 'node:crypto';

import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid, newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import { isEventCode } from '../intake/event-code.ts';
import { maskAddress } from '../intake/mask.ts';
import { checkRecipient, recipientOf } from '../intake/recipient.ts';
import { findPage, idCursor, keysetQuery, type Page, type PageArgs, toPage } from '../paging/page.ts';
import { type Suppression, SuppressionEntity } from './suppression.entity.ts';

/** An address to suppress, in clear text. */
export interface SuppressionEntry extends Pick<
  Suppression,
  'tenantId' | 'channel' | 'category' | 'reason' | 'sourceLogId' | 'createdBy'
> {
  address: string;
}

export interface Suppressions {
  list(tenantId: string, args: PageArgs): Promise<Page<Suppression>>;
  /**
   * Adds an address, or returns the existing entry. Audited.
   * @throws `validation_failed` naming the field.
   */
  add(
    actor: Actor,
    subject: { channel: Channel; address: string; category?: string },
    traceId: string,
  ): Promise<Suppression>;
  /** Removes an entry, so that the service sends to the address again. Audited. @throws `not_found` */
  remove(actor: Actor, id: string, traceId: string): Promise<Suppression>;
}

/** Returns the hash that identifies an address. It differs between tenants and does not reveal the address. */
export const addressHash = (tenantId: string, channel: Channel, address: string): string =>
  createHash('sha256')
    .update(JSON.stringify([tenantId, channel, channel === 'email' ? address.toLowerCase() : address]))
    .digest('hex');

/** One statement for all entries of a settled batch, over many tenants; sorted, so that two batches cannot deadlock. */
const INSERT_SUPPRESSIONS = `insert into suppression
    (id, tenant_id, channel, address_hash, address_masked, category, reason, source_log_id, created_by)
  select id, tenant_id, channel, address_hash, address_masked, category, reason, source_log_id, created_by
  from jsonb_to_recordset($1::jsonb) as entry (id uuid, tenant_id text, channel text, address_hash text,
    address_masked text, category text, reason text, source_log_id uuid, created_by text)
  order by tenant_id, channel, address_hash, category
  on conflict (tenant_id, channel, address_hash, category) do nothing
  returning id`;

/**
 * Inserts the entries that do not exist yet.
 * @returns the number of inserted entries.
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
  return (await tx.query(INSERT_SUPPRESSIONS, [JSON.stringify(rows)])).length;
}

export function createSuppressions(database: Database): Suppressions {
  return {
    list: (tenantId, args) => {
      const query = keysetQuery(args, idCursor);
      const { where, options } = findPage(query);
      return database.asTenant(tenantId, async ({ em }) =>
        toPage(await em.find(SuppressionEntity, { ...where, tenantId }, options), query),
      );
    },
    add: (actor, { channel, address, category = '' }, traceId) => {
      const problems = checkRecipient(recipientOf(channel, address), () => 'input.address');
      if (category !== '' && !isEventCode(category)) {
        problems.push({ path: 'input.category', message: 'must be letters, digits, dots, dashes or underscores' });
      }
      if (problems.length > 0) throw validationFailed(problems);
      const { tenantId, userId } = actor;
      const id = newId();
      return database.asTenant(tenantId, async (tx) => {
        const suppression = await tx.em.upsert(
          SuppressionEntity,
          {
            id,
            tenantId,
            channel,
            addressHash: addressHash(tenantId, channel, address),
            addressMasked: maskAddress(address),
            category,
            reason: 'manual',
            createdBy: userId,
          },
          { onConflictFields: ['tenantId', 'channel', 'addressHash', 'category'], onConflictAction: 'ignore' },
        );
        if (suppression.id === id) {
          await writeAudit(tx, {
            actor,
            traceId,
            action: 'notification.config.updated',
            details: { suppressed: shown(suppression) },
          });
        }
        return suppression;
      });
    },
    remove: (actor, id, traceId) =>
      database.asTenant(actor.tenantId, async (tx) => {
        const { tenantId } = actor;
        const suppression = isUuid(id) ? await tx.em.findOne(SuppressionEntity, { tenantId, id }) : null;
        // Of several calls at the same time, one deletes the entry and is audited.
        if (!suppression || (await tx.em.nativeDelete(SuppressionEntity, { tenantId, id })) === 0) {
          throw new AppError(
            'not_found',
            `The suppression list has no entry with the id ${JSON.stringify(id.slice(0, 64))}.`,
          );
        }
        const details = { unsuppressed: shown(suppression) };
        await writeAudit(tx, { actor, traceId, action: 'notification.config.updated', details });
        return suppression;
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
