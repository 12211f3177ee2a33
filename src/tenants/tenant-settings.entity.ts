import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { TenantPolicies } from './policies.ts';

/** What a tenant's admins set for the tenant as a whole. Null: the tenant's file or the environment decides. */
export const TenantSettingsEntity = defineEntity({
  name: 'TenantSettingsEntity',
  tableName: 'tenant_settings',
  properties: {
    tenantId: p.text().primary(),
    /** BCP 47. */
    defaultLocale: p.text().nullable(),
    /** `live`, `sandbox` or `hold`; the stricter of it and the process's own is in force. */
    deliveryMode: p.text().nullable(),
    policies: p.json<TenantPolicies>().defaultRaw(`'{}'`),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().nullable(),
  },
  checks: [{ name: 'tenant_settings_delivery_mode', expression: `delivery_mode in ('live', 'sandbox', 'hold')` }],
  ...tenantIsolation('tenant_settings'),
});
