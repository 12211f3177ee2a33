import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** Last reported circuit breaker state of a tenant's provider. Informational: each process keeps its own circuit. */
export const ProviderCircuitEntity = defineEntity({
  name: 'ProviderCircuitEntity',
  tableName: 'provider_circuit',
  properties: {
    tenantId: p.text().primary(),
    channel: p.text().primary(),
    provider: p.text().primary(),
    state: p.text(),
    retryAt: p.datetime().columnType('timestamptz').nullable(),
    changedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
  },
  checks: [{ name: 'provider_circuit_state', expression: `state in ('closed', 'open', 'half_open')` }],
  ...tenantIsolation('provider_circuit'),
});
