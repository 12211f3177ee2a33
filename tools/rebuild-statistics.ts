import { parseArgs } from 'node:util';

import { openDatabase } from '../src/database/database.ts';
import { rebuildStatistics } from '../src/delivery/statistics-rebuild.ts';
import { createLog } from '../src/log.ts';
import { explainDatabaseError } from '../src/start-error.ts';

// npm run statistics:rebuild [-- --tenant ID]: computes the delivery statistics again from the delivery records.
const { DATABASE_URL } = process.env;
const { tenant } = readArguments();

function readArguments(): { tenant?: string | undefined } {
  try {
    return parseArgs({ args: process.argv.slice(3), options: { tenant: { type: 'string' } } }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nUsage: statistics:rebuild [--tenant ID]\n`);
    process.exit(1);
  }
}

if (!DATABASE_URL) {
  process.stderr.write('Set DATABASE_URL.\n');
  process.exit(1);
}
const database = openDatabase({ url: DATABASE_URL, log: createLog('silent') });
try {
  const { tenants, days, notifications } = await rebuildStatistics(database, tenant);
  process.stdout.write(
    `Counted ${notifications} notifications: rebuilt the statistics of ${days} days, over ${tenants} tenants.\n`,
  );
} catch (error) {
  process.stderr.write(`${explainDatabaseError(error, { url: DATABASE_URL, variable: 'DATABASE_URL' }).message}\n`);
  process.exitCode = 1;
} finally {
  await database.close();
}
