import { migrate } from '../src/database/migrate.ts';
import { type DatabaseSource, explainDatabaseError } from '../src/start-error.ts';

// npm run migrate: runs the migrations, for deployments that do this before they start the service.
const { DATABASE_URL, DATABASE_OWNER_URL } = process.env;
const source: DatabaseSource = DATABASE_OWNER_URL
  ? { url: DATABASE_OWNER_URL, variable: 'DATABASE_OWNER_URL' }
  : { url: DATABASE_URL ?? '', variable: 'DATABASE_URL' };
if (!source.url) {
  process.stderr.write('Set DATABASE_URL or DATABASE_OWNER_URL.\n');
  process.exit(1);
}
try {
  const ran = await migrate(source.url);
  process.stdout.write(ran.length > 0 ? `${ran.join('\n')}\n` : 'The database is up to date.\n');
} catch (error) {
  process.stderr.write(`${explainDatabaseError(error, source).message}\n`);
  process.exit(1);
}
