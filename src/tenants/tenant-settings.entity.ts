import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { TenantPolicies } from './policies.ts';

/** Tenant settings that admins have changed. Null when the tenant file or the environment applies. */
export const TenantSettingsEntity = defineEntity({
  name: 'TenantSettingsEntity',
  tableName: 'tenant_settings',
  properties: {
    tenantId: p.text().primary(),
    /** BCP 47. */
    defaultLocale: p.text().nullable(),
    /** `live`, `sandbox` or `hold`. The stricter of this and the mode of the process applies. */
    deliveryMode: p.text().nullable(),
    policies: p.json<TenantPolicies>().defaultRaw(`'{}'`),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().nullable(),
  },
  checks: [{ name: 'tenant_settings_delivery_mode', expression: `delivery_mode in ('live', 'sandbox', 'hold')` }],
  ...tenantIsolation('tenant_settings'),
});
