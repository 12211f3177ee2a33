import { migrate } from '../src/database/migrate.ts';

// npm run migrate: brings the database up to date before the service starts, for deployments that keep the two apart.
const url = process.env['DATABASE_OWNER_URL'] ?? process.env['DATABASE_URL'];
if (!url) {
  process.stderr.write('DATABASE_URL, or DATABASE_OWNER_URL, is required\n');
  process.exit(1);
}
try {
  const ran = await migrate(url);
  process.stdout.write(ran.length > 0 ? `${ran.join('\n')}\n` : 'The database is up to date.\n');
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
