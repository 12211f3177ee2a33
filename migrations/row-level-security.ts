const TENANT = `tenant_id = nullif(current_setting('app.tenant_id', true), '')`;

/** Enables row-level security of a tenant table: the API role sees one tenant, the worker all, other roles nothing. */
export const enableTenantIsolation = (table: string): string => `
  alter table "${table}" enable row level security;
  alter table "${table}" force row level security;
  create policy "${table}_tenant" on "${table}" to "notif_api" using (${TENANT}) with check (${TENANT});
  create policy "${table}_worker" on "${table}" to "notif_worker" using (true) with check (true);
`;
