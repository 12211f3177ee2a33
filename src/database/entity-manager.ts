import { type EntityManager, MikroORM } from '@mikro-orm/postgresql';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import type pg from 'pg';

import { entities } from './entities.ts';
import { NUL_IN_TEXT } from './errors.ts';

export interface EntityManagers {
  /**
   * Returns a new EntityManager, with an empty identity map, whose statements run on `client`: in the transaction that
   * is open there, and so under its role and its tenant. It runs no statement after `hasEnded` returns true, because the
   * client may then serve another tenant.
   */
  on(client: Pick<pg.PoolClient, 'query'>, hasEnded: () => boolean): EntityManager;
}

/**
 * Discovers the entities once and creates EntityManagers. They open no connection: `database.ts` manages the pools and
 * the scope of transactions, and an EntityManager without a transaction cannot run a statement.
 */
export function createEntityManagers(): EntityManagers {
  const orm = new MikroORM({
    entities,
    dbName: 'given by the transaction',
    ensureDatabase: false,
    driverOptions: dialectOver(refuse),
  });
  return {
    on: (client, hasEnded) => {
      const em = orm.em.fork({ clear: true });
      const connection = connectionOver(client);
      em.setTransactionContext(
        new Kysely({ dialect: dialectOver(() => (hasEnded() ? refuse() : Promise.resolve(connection))) }),
      );
      return em;
    },
  };
}

function refuse(): Promise<DatabaseConnection> {
  return Promise.reject(new Error('An EntityManager runs statements only inside asTenant or asWorker.'));
}

/** Kysely's PostgreSQL dialect, on which MikroORM runs, over a connection that the caller manages. */
function dialectOver(acquireConnection: Driver['acquireConnection']): Dialect {
  const nothing = async (): Promise<void> => {};
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => ({
      init: nothing,
      acquireConnection,
      beginTransaction: nothing,
      commitTransaction: nothing,
      rollbackTransaction: nothing,
      releaseConnection: nothing,
      destroy: nothing,
    }),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}

const connectionOver = (client: Pick<pg.PoolClient, 'query'>): DatabaseConnection => ({
  executeQuery: async <Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> => {
    // MikroORM inlines values into the statement, and the protocol ends a statement at this character.
    if (sql.includes('\0')) throw Object.assign(new Error('a statement contains U+0000'), { code: NUL_IN_TEXT });
    const { rows, rowCount } = await client.query({ text: sql, values: [...parameters] });
    return { rows, numAffectedRows: BigInt(rowCount ?? 0) };
  },
  streamQuery: () => {
    throw new Error('Streams are not supported inside a transaction.');
  },
});
