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

/** Returns a listener that logs each state change of a circuit breaker and stores the last one for GraphQL. */
export function circuitReporter(database: Database, log: Log): (key: ProviderKey, circuit: Circuit) => void {
  /** Changes that wait for an earlier one of the same breaker: two writes at the same time could end in either order. */
  const writing = new Map<string, { next?: unknown[] }>();
  const write = async (name: string, first: unknown[]): Promise<void> => {
    const queue: { next?: unknown[] } = { next: first };
    writing.set(name, queue);
    while (queue.next) {
      const values = queue.next;
      delete queue.next;
      await database
        .asWorker((tx) => tx.query(SAVE_CIRCUIT, values))
        .catch((error: unknown) =>
          log.warn({ error, tenant_id: values[0] }, 'storing the state of a circuit breaker failed'),
        );
    }
    writing.delete(name);
  };
  return ({ tenantId, channel, provider }, { state, failures, retryAt }) => {
    log[state === 'open' ? 'warn' : 'info'](
      { tenant_id: tenantId, channel, provider, state, failures },
      'circuit breaker changed its state',
    );
    const name = JSON.stringify([tenantId, channel, provider]);
    const values = [tenantId, channel, provider, state, state === 'open' ? new Date(retryAt) : null];
    const queue = writing.get(name);
    if (queue) queue.next = values;
    else void write(name, values);
  };
}

/** A tenant has few circuit breakers, which one index range contains. */
const SELECT_CIRCUITS = `select channel, provider, state, retry_at as "retryAt", changed_at as "changedAt"
  from provider_circuit where tenant_id = $1 order by channel, provider`;

/** Returns the circuit breakers of a tenant's providers, without those of providers that have never failed. */
export function findCircuits(database: Database, tenantId: string): Promise<ProviderCircuit[]> {
  return database.asTenant(tenantId, (tx) => tx.query<ProviderCircuit>(SELECT_CIRCUITS, [tenantId]));
}
