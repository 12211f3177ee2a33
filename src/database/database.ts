import pg from 'pg';

import type { Log } from '../log.ts';
import { API_ROLE, WORKER_ROLE } from './tenant-wall.ts';

/** One open transaction. */
export interface Transaction {
  /** Runs one statement with `$1…` parameters and gives back its rows. */
  query<Row extends object = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
}

export interface Database {
  /** Runs `work` in a transaction that sees and may change the rows of one tenant only. */
  asTenant<T>(tenantId: string, work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Runs `work` in a transaction over the rows of all tenants, with the worker's few grants. */
  asWorker<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** @throws when the database does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  log: Log;
  /** Connections for the API and, apart from them, for the worker: neither can starve the other. */
  poolSize?: number;
  /** Told how long each transaction took, from asking for a connection to its end. Milliseconds. */
  onTransaction?: (ms: number) => void;
}

/** Nobody waits for ever, and a process that hangs in mid-transaction lets go of its locks. */
const LIMITS = `set local statement_timeout = '30s'; set local idle_in_transaction_session_timeout = '30s'`;

const types = new pg.TypeOverrides();
// bigint: positions and counters here stay far below 2^53.
types.setTypeParser(pg.types.builtins.INT8, Number);

/** Opens the two pools. Nothing is connected until the first transaction. */
export function openDatabase({ url, log, poolSize = 10, onTransaction }: DatabaseOptions): Database {
  const open = (name: string): pg.Pool => {
    const pool = new pg.Pool({
      connectionString: url,
      max: poolSize,
      application_name: `notification-subgraph ${name}`,
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
      types,
    });
    pool.on('error', (error) => log.warn({ error }, 'idle database connection lost'));
    return pool;
  };
  const timed: typeof transact = async (pool, begin, work) => {
    const startedAt = performance.now();
    try {
      return await transact(pool, begin, work);
    } finally {
      onTransaction?.(performance.now() - startedAt);
    }
  };
  const api = open('api');
  const worker = open('worker');

  return {
    asTenant: (tenantId, work) => {
      // One round trip. The role is set per transaction and not per session, so poolers in between do no harm.
      const tenant = pg.escapeLiteral(tenantId);
      const scope = `set local role ${API_ROLE}; select set_config('app.tenant_id', ${tenant}, true)`;
      return timed(api, `begin; ${LIMITS}; ${scope}`, work);
    },
    asWorker: (work) => timed(worker, `begin; ${LIMITS}; set local role ${WORKER_ROLE}`, work),
    ping: async () => {
      await worker.query('select 1');
    },
    close: async () => {
      await Promise.all([api.end(), worker.end()]);
    },
  };
}

async function transact<T>(pool: pg.Pool, begin: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // While a connection is in use the pool does not listen for its end, and an 'error' that nobody hears ends the process.
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query(begin);
    const result = await work({
      query: async <Row extends object>(text: string, values: unknown[] = []) => {
        const { rows } = await client.query<Row>(text, values);
        return rows;
      },
    });
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    client.off('error', onError);
    // A connection that could not even roll back is not given to anybody else.
    client.release(broken);
  }
}
