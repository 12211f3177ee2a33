import type { Transaction } from '../database/database.ts';
import { firstIdOf } from '../ids.ts';

/** Kind of the `privacy_job` whose cursor is the id up to which a tenant's delivery records may have been deleted. */
export const RETENTION_JOB = 'retention';

const SAVE = `insert into privacy_job (tenant_id, kind, cursor) 
  select tenant_id, '${RETENTION_JOB}', $2 from unnest($1::text[]) as tenant_id order by tenant_id
  on conflict (tenant_id, kind) do update
    set cursor = greatest(privacy_job.cursor, excluded.cursor), updated_at = now()`;

/**
 * Stores that delivery records of some tenants from before a moment may be missing, so that the statistics of that time are
 * not rebuilt from the rest. Must run in the transaction that deletes them, before the deletion, because it locks a row
 * of each tenant.
 *
 * @param before exclusive, in milliseconds since 1970.
 */
export async function recordRetention(tx: Transaction, tenantIds: string[], before: number): Promise<void> {
  await tx.query(SAVE, [tenantIds, firstIdOf(before)]);
}
