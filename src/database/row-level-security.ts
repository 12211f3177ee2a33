import type { PolicyDef } from '@mikro-orm/core';

/** Database role of the GraphQL API: sees the one tenant that its transaction names. */
export const API_ROLE = 'notif_api';
/** Database role of intake, dispatch and feeds: works on batches of many tenants. */
export const WORKER_ROLE = 'notif_worker';
/** Owns every table and is used by migrations alone. */
export const OWNER_ROLE = 'notif_owner';

const CURRENT_TENANT = `tenant_id = nullif(current_setting('app.tenant_id', true), '')`;

/**
 * What every tenant table carries: row-level security forced on its owner too, one tenant for the API role,
 * all tenants for the worker role. With no tenant set the API role sees nothing.
 */
export function tenantIsolation(table: string): { rowLevelSecurity: 'force'; policies: PolicyDef[] } {
  return {
    rowLevelSecurity: 'force',
    policies: [
      { name: `${table}_tenant`, roles: [API_ROLE], using: CURRENT_TENANT, check: CURRENT_TENANT },
      { name: `${table}_worker`, roles: [WORKER_ROLE], using: 'true', check: 'true' },
    ],
  };
}
