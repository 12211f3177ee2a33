import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { DeliveryMode } from '../delivery/mode.ts';
import type { TenantPolicies } from './policies.ts';

/** Settings that a tenant's admins made for the whole tenant. Null means that the tenant's file or the environment decides. */
export const TenantSettingsEntity = defineEntity({
  name: 'TenantSettingsEntity',
  tableName: 'tenant_settings',
  properties: {
    tenantId: p.text().primary(),
    /** BCP 47. */
    defaultLocale: p.text().strictNullable(),
    /** `live`, `sandbox` or `hold`. The stricter of this and the mode of the process applies. */
    deliveryMode: p.text().$type<DeliveryMode>().strictNullable(),
    policies: p.json<TenantPolicies>().defaultRaw(`'{}'`),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().strictNullable(),
  },
  checks: [{ name: 'tenant_settings_delivery_mode', expression: `delivery_mode in ('live', 'sandbox', 'hold')` }],
  ...tenantIsolation('tenant_settings'),
});

export type StoredTenantSettings = InferEntity<typeof TenantSettingsEntity>;
