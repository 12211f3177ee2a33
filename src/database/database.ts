import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';

import type { EntityManager } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import pg from 'pg';

import { parseExact } from '../exact-json.ts';
import type { Log } from '../log.ts';
import { createEntityManagers, type EntityManagers } from './entity-manager.ts';
import { createTenantShare } from './tenant-share.ts';
import { asCallersError, isUnanswered, unstorableText } from './errors.ts';
import { API_ROLE, WORKER_ROLE } from './row-level-security.ts';

/** One open transaction. */
export interface Transaction {
  /** Runs one statement with `$1…` parameters and returns its rows: for batches and for reads at every request. */
  query<Row extends object = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
  /**
   * Runs one statement whose planning costs more than its execution. Each text is planned once per connection, for any
   * values, so there must be few texts. Later statements of the transaction are planned without their values, too.
   */
  queryPlanned<Row extends object = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
  /**
   * The EntityManager of this transaction, for data that users edit. Its identity map is empty at the start and ends with
   * the transaction. Changes are flushed before the commit.
   */
  readonly em: EntityManager;
}

export interface Database {
  /**
   * Runs one read-only statement over the rows of one tenant. Reads of the same turn of the event loop share a
   * transaction, and the statement is prepared once per connection. The text must be a constant of the code, because each
   * text becomes a prepared statement.
   */
  readAsTenant<Row extends object>(tenantId: string, text: string, values?: unknown[]): Promise<Row[]>;
  /** Runs `work` in a transaction that reads and changes rows of one tenant only. */
  asTenant<T>(tenantId: string, work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Runs `work` in a transaction over the rows of all tenants, with the grants of the worker role. */
  asWorker<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** @throws when the database does not respond. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  log: Log;
  /** Size of each of the two pools. The API and the worker have their own, so that neither can starve the other. */
  poolSize?: number;
  /** True to use prepared statements. Set to false behind a pooler that does not support them. */
  keepsPlans?: boolean;
  /** Time after which a connection without an answer counts as broken, in milliseconds. */
  queryTimeoutMs?: number;
  /** Called with the duration of each transaction in milliseconds, including the wait for a connection. */
  onTransaction?: (ms: number) => void;
}

/** Bounds every statement and idle transaction, so that a hung process releases its locks. */
const LIMITS = { statement_timeout: '30s', idle_in_transaction_session_timeout: '30s' };
/**
 * Time after which a connection without an answer counts as broken, in milliseconds. Longer than `statement_timeout`, which
 * ends a statement on a server that is alive.
 */
const QUERY_TIMEOUT_MS = 35_000;
/** Part of the API's connections that one tenant may use at a time. */
const TENANT_SHARE = 0.7;
/** Maximum number of reads that share a transaction. With more, the last reads would wait too long for the first. */
const MAX_SHARED = 16;

const types = new pg.TypeOverrides();
// Parses bigint as a number: positions and counters stay far below 2^53.
types.setTypeParser(pg.types.builtins.INT8, Number);
// A statement casts the values of events from jsonb to json, and so gets all digits of their numbers.
types.setTypeParser(pg.types.builtins.JSON, parseExact);

/** Creates the two pools. The first transaction opens the first connection. */
export function openDatabase({
  url,
  log,
  poolSize = 10,
  keepsPlans = true,
  queryTimeoutMs = QUERY_TIMEOUT_MS,
  onTransaction,
}: DatabaseOptions): Database {
  const open = (name: string): pg.Pool => {
    const pool = new pg.Pool({
      connectionString: url,
      max: poolSize,
      application_name: `notification-subgraph ${name}`,
      connectionTimeoutMillis: 10_000,
      query_timeout: queryTimeoutMs,
      keepAlive: true,
      types,
      // Sends statements without waiting for earlier results, so that opening a transaction costs no round trip.
      pipeline: true,
    });
    // The error refers to the whole client, which does not belong into a log line.
    pool.on('error', ({ message }) => log.warn({ reason: message }, 'idle database connection lost'));
    return pool;
  };
  const entityManagers = createEntityManagers();
  const timed = async <T>(
    pool: pg.Pool,
    scope: string,
    work: (tx: Transaction) => Promise<T>,
    how?: TransactOptions,
  ) => {
    const startedAt = performance.now();
    try {
      return await transact({ pool, entityManagers, mayKeepPlans: keepsPlans }, scope, work, how);
    } finally {
      onTransaction?.(performance.now() - startedAt);
    }
  };
  const api = open('api');
  const worker = open('worker');

  // The rest of the connections serves other tenants.
  const share = createTenantShare(Math.max(1, Math.ceil(poolSize * TENANT_SHARE)));
  const asTenantWith =
    (options?: TransactOptions): Database['asTenant'] =>
    async (tenantId, work) => {
      try {
        const scope = asTenantScope(tenantId);
        return await share.run(tenantId, () => timed(api, scope, work, options));
      } catch (error) {
        throw asCallersError(error);
      }
    };

  return {
    readAsTenant: createReader(asTenantWith({ isPipelined: true, keepsPlans })),
    asTenant: asTenantWith(),
    asWorker: (work) => timed(worker, scopeOf({ role: WORKER_ROLE }), work),
    ping: async () => {
      await worker.query('select 1');
    },
    close: async () => {
      await Promise.all([api.end(), worker.end()]);
    },
  };
}

/** SQL that sets role, tenant and limits for one transaction. They end with it, so that it works behind a pooler. */
function scopeOf(settings: Record<string, string>): string {
  const all = Object.entries({ ...LIMITS, ...settings });
  const calls = all.map(([name, value]) => `set_config('${name}', ${pg.escapeLiteral(value)}, true)`);
  return `select ${calls.join(', ')}`;
}

function asTenantScope(tenantId: string): string {
  // The protocol ends a statement at this character.
  if (tenantId.includes('\0')) throw unstorableText();
  return scopeOf({ role: API_ROLE, 'app.tenant_id': tenantId });
}

/** Up to the end of the transaction, statements are planned without their values. */
const PLAN_ONCE = `select set_config('plan_cache_mode', 'force_generic_plan', true)`;

interface TransactOptions {
  /** The work issues all statements before it awaits the first, so that the whole transaction is one round trip. */
  isPipelined: boolean;
  /** The statements are prepared once per connection. */
  keepsPlans: boolean;
}

/**
 * Runs `work` in a transaction. `begin` is a separate statement: if `scope` fails after it, the transaction is aborted
 * and no later statement runs outside of it.
 */
async function transact<T>(
  { pool, entityManagers, mayKeepPlans }: { pool: pg.Pool; entityManagers: EntityManagers; mayKeepPlans: boolean },
  scope: string,
  work: (tx: Transaction) => Promise<T>,
  { isPipelined, keepsPlans }: TransactOptions = { isPipelined: false, keepsPlans: false },
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  let hasEnded = false;
  // The pool does not handle errors of a connection in use, and an unhandled 'error' event ends the process.
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    const query = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> => {
      const { rows } = await client.query<Row>({ text, values, ...(keepsPlans ? { name: nameOf(text) } : {}) });
      return rows;
    };
    let em: EntityManager | undefined;
    let plansForAnyValues = false;
    const tx: Transaction = {
      query,
      queryPlanned: async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> => {
        if (!mayKeepPlans) return query<Row>(text, values);
        if (!plansForAnyValues) markHandled(client.query(PLAN_ONCE));
        plansForAnyValues = true;
        const { rows } = await client.query<Row>({ text, values, name: nameOf(text) });
        return rows;
      },
      get em() {
        em ??= entityManagers.on(client, () => hasEnded);
        return em;
      },
    };
    const sendTogether = corked(client);
    const opened = markHandled(Promise.all([client.query('begin'), client.query(scope)]));
    let working: Promise<T>;
    let committing: Promise<unknown> | undefined;
    try {
      working = work(tx);
      if (isPipelined) committing = markHandled(client.query('commit'));
    } finally {
      sendTogether();
    }
    const result = await working;
    await opened;
    await em?.flush();
    await (committing ?? client.query('commit'));
    return result;
  } catch (error) {
    // A connection that does not answer would not answer a rollback either.
    if (isUnanswered(error)) broken = error;
    else
      await client.query('rollback').catch((rollbackError: Error) => {
        broken = rollbackError;
      });
    throw error;
  } finally {
    hasEnded = true;
    client.off('error', onError);
    // Destroys a connection whose rollback failed.
    client.release(broken);
  }
}

const names = new LRUCache<string, string>({ max: 1_000 });

/** Returns the name of a prepared statement. The same text has the same name in every process. */
function nameOf(text: string): string {
  const known = names.get(text);
  if (known !== undefined) return known;
  const name = createHash('sha256').update(text).digest('base64url');
  names.set(text, name);
  return name;
}

/** Marks the promise as handled. Another statement reports the failure first. */
function markHandled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Buffers outgoing statements until the returned function is called, so that they are sent in one write. */
function corked(client: pg.PoolClient): () => void {
  // The types of the driver do not declare this stream.
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.cork();
  return () => stream.uncork();
}

interface Read {
  text: string;
  values: unknown[];
  resolve: (rows: never[]) => void;
  reject: (error: unknown) => void;
}

/**
 * Groups the reads of one turn of the event loop by tenant. If a group fails, each read runs again alone, so that only
 * the faulty one fails.
 */
function createReader(asTenant: Database['asTenant']): Database['readAsTenant'] {
  let waiting = new Map<string, Read[]>();

  const readAlone = ({ text, values, resolve, reject }: Read, tenantId: string): void => {
    asTenant(tenantId, (tx) => tx.query<never>(text, values)).then(resolve, reject);
  };
  const readTogether = (reads: Read[], tenantId: string): void => {
    asTenant(tenantId, (tx) => Promise.all(reads.map(({ text, values }) => tx.query<never>(text, values))))
      .then((answers) => {
        for (const [index, { resolve }] of reads.entries()) resolve(answers[index] as never[]);
        return undefined;
      })
      .catch(() => {
        for (const read of reads) readAlone(read, tenantId);
      });
  };
  const flush = (): void => {
    const all = waiting;
    waiting = new Map();
    for (const [tenantId, reads] of all) {
      for (let from = 0; from < reads.length; from += MAX_SHARED) {
        const some = reads.slice(from, from + MAX_SHARED);
        if (some.length > 1) readTogether(some, tenantId);
        else readAlone(some[0] as Read, tenantId);
      }
    }
  };

  return (tenantId, text, values = []) =>
    new Promise((resolve, reject) => {
      if (waiting.size === 0) setImmediate(flush);
      const reads = waiting.get(tenantId);
      const read = { text, values, resolve, reject };
      if (reads) reads.push(read);
      else waiting.set(tenantId, [read]);
    });
}
