import { migrate } from '../src/database/migrate.ts';

// npm run migrate: runs the migrations, for deployments that do this before they start the service.
const url = process.env['DATABASE_OWNER_URL'] ?? process.env['DATABASE_URL'];
if (!url) {
  process.stderr.write('Set DATABASE_URL or DATABASE_OWNER_URL.\n');
  process.exit(1);
}
try {
  const ran = await migrate(url);
  process.stdout.write(ran.length > 0 ? `${ran.join('\n')}\n` : 'The database is up to date.\n');
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
