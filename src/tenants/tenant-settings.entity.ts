import { defineEntity, p } from '@mikro-orm/core';

import { tenantWall } from '../database/tenant-wall.ts';

/** What a tenant's admins set for the tenant as a whole. Null: the tenant's file or the environment decides. */
export const TenantSettingsEntity = defineEntity({
  name: 'TenantSettingsEntity',
  tableName: 'tenant_settings',
  properties: {
    tenantId: p.text().primary(),
    /** BCP 47. */
    defaultLocale: p.text().nullable(),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().nullable(),
  },
  ...tenantWall('tenant_settings'),
});
