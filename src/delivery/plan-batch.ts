import type { Log } from '../log.ts';
import { addressFor } from '../intake/recipient.ts';
import type { RecipientEligibility } from '../preferences/recipient-eligibility.ts';
import type { UnsubscribeLinks } from '../preferences/unsubscribe.ts';
import type { TemplateLookup } from '../templates/lookup.ts';
import type { TenantSettings, TenantSettingsSource } from '../tenants/settings.ts';
import type { ClaimedLog } from './claim.ts';
import type { Bulkheads } from './bulkheads.ts';
import { type DeliveryMode, stricterMode } from './mode.ts';
import { type Plan, planDelivery } from './plan.ts';
import { INTERNAL_FAILURE } from './recorder.ts';
import { candidateChannels } from './route.ts';

export interface PlannedLog {
  log: ClaimedLog;
  settings: TenantSettings;
  mode: DeliveryMode;
  plan: Plan;
}

export interface PlanBatchOptions {
  settings: TenantSettingsSource;
  templates: TemplateLookup;
  reach: RecipientEligibility;
  bulkheads: Pick<Bulkheads, 'blockedUntil'>;
  /** Absent if the service has no public URL. */
  unsubscribeLinks?: UnsubscribeLinks | undefined;
  /** Returns the delivery mode of this process. */
  mode: () => DeliveryMode;
  log: Log;
}

/** Loads settings, templates and recipient eligibility for the whole batch, and plans each row. */
export async function planBatch(claimed: ClaimedLog[], options: PlanBatchOptions): Promise<PlannedLog[]> {
  const { settings, templates, reach, log } = options;
  const settingsByTenant = await settings.load(claimed.map((row) => row.tenantId));
  const rows = claimed.map((row) => {
    const tenant = settingsByTenant.get(row.tenantId);
    if (!tenant) throw new Error(`settings of tenant ${row.tenantId} were not loaded`);
    const policy = tenant.events[row.eventCode];
    // A notification with its own text goes to an audience, which is resolved when the inbox rows are written.
    const channels = row.content ? [] : candidateChannels(row.channels, policy);
    return { row, tenant, channels, category: row.category ?? policy?.category ?? null };
  });
  const [templatesOf, reached] = await Promise.all([
    templates.load(
      rows.flatMap(({ row: { tenantId, eventCode }, channels }) =>
        channels.map((channel) => ({ tenantId, eventCode, channel })),
      ),
    ),
    reach.load(
      rows.map(({ row, tenant, channels, category }) => ({
        tenantId: row.tenantId,
        userId: row.recipient.user_id,
        category,
        policy: category === null ? undefined : tenant.categories[category],
        addresses: channels.flatMap((channel) => {
          const address = addressFor(channel, row.recipient);
          return address === undefined ? [] : [{ channel, address }];
        }),
        needsTimeZone: tenant.quietHours !== null,
        collapse: row.collapseKey === null ? undefined : { key: row.collapseKey, logId: row.id },
      })),
    ),
  ]);
  const now = new Date();
  return rows.map(({ row, tenant }, index): PlannedLog => {
    const { tenantId, eventCode } = row;
    const mode = stricterMode(options.mode(), tenant.deliveryMode);
    try {
      const plan = planDelivery(row, {
        settings: tenant,
        mode,
        templatesFor: (channel) => templatesOf({ tenantId, eventCode, channel }),
        reach: reached[index] ?? { blocked: {} },
        blockedUntil: (channel, provider) => options.bulkheads.blockedUntil({ tenantId, channel, provider }),
        unsubscribeUrl: (channel, category) =>
          options.unsubscribeLinks?.linkFor({ tenantId, logId: row.id, channel, category }),
        now,
      });
      return { log: row, settings: tenant, mode, plan };
    } catch (error) {
      log.error(
        { error, tenant_id: tenantId, event_id: row.eventId },
        'planning a delivery failed, it is recorded as failed',
      );
      const plan: Plan = { kind: 'end', status: 'failed', evaluated: [], ...INTERNAL_FAILURE };
      return { log: row, settings: tenant, mode, plan };
    }
  });
}
