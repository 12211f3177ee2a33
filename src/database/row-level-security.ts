import type { PolicyDef } from '@mikro-orm/core';

/** Database role of the GraphQL API. It sees only the tenant that its transaction sets. */
export const API_ROLE = 'notif_api';
/** Database role of intake, dispatch and feeds, which work on batches of many tenants. */
export const WORKER_ROLE = 'notif_worker';
/** Owner of every table; only migrations use it. */
export const OWNER_ROLE = 'notif_owner';

const CURRENT_TENANT = `tenant_id = nullif(current_setting('app.tenant_id', true), '')`;

/**
 * Row-level security of a tenant table, forced on its owner too. The API role sees one tenant, the worker role all
 * tenants. Without a tenant, the API role sees nothing.
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
