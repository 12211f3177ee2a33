import type { DeliveryMode } from '../config.ts';
import type { Log } from '../log.ts';
import type { TemplateLookup } from '../templates/lookup.ts';
import type { TenantSettingsSource } from '../tenants/settings.ts';
import type { ClaimedLog } from './claim.ts';
import { candidateChannels, type Plan, type PlanContext, planDelivery } from './plan.ts';
import { INTERNAL_FAILURE } from './recorder.ts';

export interface PlannedLog {
  log: ClaimedLog;
  plan: Plan;
}

export interface PlanBatchOptions {
  settings: TenantSettingsSource;
  templates: TemplateLookup;
  mode: DeliveryMode;
  log: Log;
}

const SANDBOX = { provider: 'sandbox', config: {}, origin: 'environment' as const };

/** Reads settings and templates for the whole batch at once and decides each row on its own. */
export async function planBatch(claimed: ClaimedLog[], options: PlanBatchOptions): Promise<PlannedLog[]> {
  const { settings, templates, mode, log } = options;
  const keys = claimed
    .filter((row) => !row.content)
    .flatMap(({ tenantId, eventCode, channels }) =>
      candidateChannels({ channels }).map((channel) => ({ tenantId, eventCode, channel })),
    );
  const [settingsOf, templatesOf] = await Promise.all([
    settings.load(claimed.map((row) => row.tenantId)),
    templates.load(keys),
  ]);
  const now = new Date();
  return claimed.map((row) => {
    const { tenantId, eventCode } = row;
    const tenant = settingsOf.get(tenantId);
    if (!tenant) throw new Error('settings of a tenant were not loaded');
    const context: PlanContext = {
      defaultLocale: tenant.defaultLocale,
      providerFor: (channel) => (mode === 'sandbox' ? SANDBOX : tenant.channels[channel]),
      templatesFor: (channel) => templatesOf({ tenantId, eventCode, channel }),
      now,
    };
    try {
      return { log: row, plan: planDelivery(row, context) };
    } catch (error) {
      log.error({ error, tenant_id: tenantId, event_id: row.eventId }, 'delivery cannot be planned');
      return { log: row, plan: { kind: 'end', status: 'failed', ...INTERNAL_FAILURE } };
    }
  });
}
