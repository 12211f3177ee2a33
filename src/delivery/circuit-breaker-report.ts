import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { Log } from '../log.ts';
import type { Circuit } from './circuit-breaker.ts';
import type { ProviderKey } from './bulkheads.ts';

/** Last reported circuit breaker state of one provider of a tenant. */
export interface ProviderCircuit {
  channel: Channel;
  provider: string;
  state: Circuit['state'];
  retryAt: Date | null;
  changedAt: Date;
}

/** The dispatcher writes each change of state for any tenant. */
const SAVE_CIRCUIT = `insert into provider_circuit (tenant_id, channel, provider, state, retry_at) values ($1, $2, $3, $4, $5)
  on conflict (tenant_id, channel, provider) do update
    set state = excluded.state, retry_at = excluded.retry_at, changed_at = now()`;

/** Returns a listener that logs each state change of a circuit breaker and stores it for GraphQL. */
export function circuitReporter(database: Database, log: Log): (key: ProviderKey, circuit: Circuit) => void {
  return ({ tenantId, channel, provider }, { state, failures, retryAt }) => {
    log[state === 'open' ? 'warn' : 'info'](
      { tenant_id: tenantId, channel, provider, state, failures },
      'circuit breaker changed its state',
    );
    database
      .asWorker((tx) =>
        tx.query(SAVE_CIRCUIT, [tenantId, channel, provider, state, state === 'open' ? new Date(retryAt) : null]),
      )
      .catch((error: unknown) =>
        log.warn({ error, tenant_id: tenantId }, 'storing the state of a circuit breaker failed'),
      );
  };
}

/** A tenant has few circuit breakers, which one index range contains. */
const SELECT_CIRCUITS = `select channel, provider, state, retry_at as "retryAt", changed_at as "changedAt"
  from provider_circuit where tenant_id = $1 order by channel, provider`;

/** Returns the circuit breakers of a tenant's providers, without those of providers that have never failed. */
export function findCircuits(database: Database, tenantId: string): Promise<ProviderCircuit[]> {
  return database.asTenant(tenantId, (tx) => tx.query<ProviderCircuit>(SELECT_CIRCUITS, [tenantId]));
}
