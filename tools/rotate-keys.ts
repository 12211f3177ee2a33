import { openDatabase } from '../src/database/database.ts';
import { createKeyring, parseDataKeys } from '../src/keyring.ts';
import { createLog } from '../src/log.ts';
import { rotateKeys } from '../src/privacy/rotate.ts';

// npm run keys:rotate: encrypts everything with the first of DATA_KEYS; afterwards the others can be taken away.
const { DATABASE_URL, DATA_KEYS } = process.env;
if (!DATABASE_URL || !DATA_KEYS) {
  process.stderr.write('DATABASE_URL and DATA_KEYS are required\n');
  process.exit(1);
}
const database = openDatabase({ url: DATABASE_URL, log: createLog('silent') });
try {
  const { channels, records } = await rotateKeys(database, createKeyring(parseDataKeys(DATA_KEYS)));
  process.stdout.write(`${channels} channels and ${records} delivery records are under the new key\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await database.close();
}
