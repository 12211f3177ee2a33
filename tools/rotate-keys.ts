import { openDatabase } from '../src/database/database.ts';
import { createKeyring, parseDataKeys } from '../src/keyring.ts';
import { createLog } from '../src/log.ts';
import { rotateKeys } from '../src/privacy/rotate.ts';
import { explainDatabaseError } from '../src/start-error.ts';

// npm run keys:rotate: encrypts all values with the first key of DATA_KEYS. The other keys can then be removed.
const { DATABASE_URL, DATA_KEYS } = process.env;
if (!DATABASE_URL || !DATA_KEYS) {
  process.stderr.write('Set DATABASE_URL and DATA_KEYS.\n');
  process.exit(1);
}
const database = openDatabase({ url: DATABASE_URL, log: createLog('silent') });
try {
  const { channels, records } = await rotateKeys(database, createKeyring(parseDataKeys(DATA_KEYS)));
  process.stdout.write(`Encrypted ${channels} channels and ${records} delivery records with the new key.\n`);
} catch (error) {
  process.stderr.write(`${explainDatabaseError(error, { url: DATABASE_URL, variable: 'DATABASE_URL' }).message}\n`);
  process.exitCode = 1;
} finally {
  await database.close();
}
