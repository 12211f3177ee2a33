import pg from 'pg';

/** A few connections for each database, for as long as it is asked: opening one takes longer than most questions. */
const pools = new Map<string, pg.Pool>();

function poolOf(databaseUrl: string): pg.Pool {
  const existing = pools.get(databaseUrl);
  if (existing) return existing;
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4, idleTimeoutMillis: 1_000, allowExitOnIdle: true });
  // The database is dropped under it at the end of a suite.
  pool.on('error', () => {});
  pools.set(databaseUrl, pool);
  return pool;
}

/** Asks the test database as its superuser, past every wall: what really is there. */
export async function sql<Row extends object>(
  databaseUrl: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const { rows } = await poolOf(databaseUrl).query<Row>(text, values);
  return rows;
}
