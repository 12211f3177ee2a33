import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { structuredPatch } from 'diff';

import { providerSchemas } from '../src/channels/registry.ts';
import { type Database, openDatabase } from '../src/database/database.ts';
import { findEmbeddedDatabase } from '../src/database/embedded.ts';
import { AppError } from '../src/errors.ts';
import { newId } from '../src/ids.ts';
import { createKeyring, parseDataKeys } from '../src/keyring.ts';
import { type Bus, topics } from '../src/live/bus.ts';
import { redisBus } from '../src/live/bus-redis.ts';
import { createLog } from '../src/log.ts';
import { explainDatabaseError } from '../src/start-error.ts';
import { type BundleChange, exportBundle, importBundle, parseBundle } from '../src/tenants/bundle.ts';

// npm run tenant:import -- FILE --tenant ID [--dry-run]
// npm run -s tenant:export -- ID

const USAGE = 'Usage: tenant:import FILE --tenant ID [--dry-run], or tenant:export ID';

const { values, positionals } = readArguments();
const [command, subject] = positionals;
const { DATABASE_URL, DATA_KEYS, DATA_PATH, REDIS_URL } = process.env;

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { tenant: { type: 'string' }, 'dry-run': { type: 'boolean', default: false } },
    });
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}\n`);
    process.exit(1);
  }
}

/** Rolls back the transaction of a dry run. */
class DryRun extends Error {}

async function readBundle(file: string): Promise<string> {
  const path = resolve(file);
  return readFile(path, 'utf8').catch(({ code }: NodeJS.ErrnoException) => {
    const text = code === 'ENOENT' ? `The file ${path} does not exist.` : `The file ${path} cannot be read (${code}).`;
    throw new AppError('validation_failed', text);
  });
}

async function importFile(database: Database, file: string, tenantId: string): Promise<void> {
  const bundle = await parseBundle(await readBundle(file));
  const tools = { keyring: createKeyring(DATA_KEYS ? parseDataKeys(DATA_KEYS) : []), schemas: await providerSchemas() };
  let changes: BundleChange[] = [];
  try {
    await database.asTenant(tenantId, async (tx) => {
      changes = await importBundle(tx, bundle, { ...tools, tenantId, userId: 'tenant:import', traceId: newId() });
      if (values['dry-run']) throw new DryRun();
    });
  } catch (error) {
    if (!(error instanceof DryRun)) throw error;
  }
  for (const change of changes) {
    process.stdout.write(`${change.change === 'added' ? '+' : '~'} ${change.kind} ${change.name}\n`);
    if (values['dry-run'])
      process.stdout.write(
        diffOf(change)
          .map((line) => `    ${line}\n`)
          .join(''),
      );
  }
  const verb = values['dry-run'] ? 'would be changed' : 'changed';
  process.stdout.write(changes.length === 0 ? 'No changes.\n' : `${changes.length} ${verb}\n`);
  if (changes.length > 0 && !values['dry-run'] && REDIS_URL) await announce(tenantId);
}

/** Maximum number of edits of a diff. Beyond that both texts are shown in full. */
const MAX_EDITS = 1_000;

/** Returns the lines of a diff with two lines of context. */
function diffOf({ before, after }: BundleChange): string[] {
  if (before === after) return ['(a secret)'];
  const patch = structuredPatch('', '', before, after, '', '', { context: 2, maxEditLength: MAX_EDITS });
  if (patch) return patch.hunks.flatMap(({ lines }) => lines);
  const whole = (sign: string, text: string) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => sign + line);
  return [...whole('-', before), ...whole('+', after)];
}

/** Tells running processes to reload the tenant's settings. Without a bus their caches expire within five minutes. */
async function announce(tenantId: string): Promise<void> {
  const bus = redisBus({ urls: (REDIS_URL as string).split(',').map((url) => url.trim()), log: createLog('silent') });
  try {
    if (await isReached(bus)) {
      bus.publish(topics.config, tenantId);
      // The reply to this ping follows that to the publish.
      await bus.ping();
    } else process.stderr.write('Redis is unavailable: running processes apply the change within five minutes.\n');
  } finally {
    await bus.close();
  }
}

/** Waits until the bus is connected. It connects in the background, and only a ping shows whether it has. */
async function isReached(bus: Bus): Promise<boolean> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const isUp = await bus.ping().then(
      () => true,
      () => false,
    );
    if (isUp) return true;
    await delay(100);
  }
  return false;
}

async function exportTenant(database: Database, tenantId: string): Promise<void> {
  const text = await database.asTenant(tenantId, (tx) => exportBundle(tx, tenantId));
  if (text.trim() === '{}') {
    process.stderr.write(`Tenant ${tenantId} has no settings, providers or templates in the database.\n`);
  }
  process.stdout.write(text);
}

async function run(database: Database): Promise<void> {
  if (command === 'tenant:import' && subject && values.tenant) return importFile(database, subject, values.tenant);
  if (command === 'tenant:export' && subject) return exportTenant(database, subject);
  throw new AppError('validation_failed', USAGE);
}

const url =
  DATABASE_URL ??
  (await findEmbeddedDatabase(resolve(DATA_PATH ?? '.data')).catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }));
if (url === undefined) {
  process.stderr.write('No database: set DATABASE_URL, or start `npm run dev` first to use its embedded database.\n');
  process.exit(1);
}
const database = openDatabase({ url, log: createLog('silent') });
try {
  await run(database);
} catch (error) {
  process.stderr.write(`${explainDatabaseError(error, { url, variable: 'DATABASE_URL' }).message}\n`);
  process.exitCode = 1;
} finally {
  await database.close();
}
