import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { MikroORM } from '@mikro-orm/postgresql';

import { readConfig } from '../src/config.ts';
import { startEmbeddedDatabase } from '../src/database/embedded.ts';
import { migrate, ormOptions } from '../src/database/migrate.ts';
import { createLog } from '../src/log.ts';
import { projectRoot } from '../src/project-root.ts';

// npm run migration:create NAME: writes a migration for the difference between the existing migrations and the
// entities, and adds it to migrations/index.ts. Review its `down`.

const [name = ''] = process.argv.slice(2);
if (!/^[a-z][a-z0-9-]*$/.test(name)) {
  process.stderr.write('Usage: npm run migration:create NAME, with a name like add-delivery-mode\n');
  process.exit(1);
}
const config = readConfig({ ENVIRONMENT: 'dev', DATA_PATH: join(projectRoot, '.data', 'migration-create') });
const server = await startEmbeddedDatabase({ ...config, ephemeral: true, log: createLog('error') });
try {
  await migrate(server.url);
  const orm = await MikroORM.init(ormOptions(server.url));
  const { up, down } = await orm.schema.getUpdateSchemaMigrationSQL();
  await orm.close();
  const stamp = new Date().toISOString().replaceAll(/\D/g, '').slice(0, 14);
  const file = `${stamp}-${name}`;
  const className = name.replaceAll(/(^|-)([a-z0-9])/g, (_match, _dash, letter: string) => letter.toUpperCase());
  await writeFile(join(projectRoot, 'migrations', `${file}.ts`), migrationText(className, up, down));
  await addToList(file, className);
  process.stdout.write(`migrations/${file}.ts\nAdd grants for new tables, and review \`down\`.\n`);
} finally {
  await server.stop();
}

function migrationText(className: string, up: string, down: string): string {
  const body = (sql: string): string => `this.addSql(\`\n${sql.trim().replaceAll(/^(?=.)/gm, '      ')}\n    \`);`;
  return `import { Migration } from '@mikro-orm/migrations';

export class ${className} extends Migration {
  override up(): void {
    ${body(up)}
  }

  override down(): void {
    ${body(down)}
  }
}
`;
}

async function addToList(file: string, className: string): Promise<void> {
  const list = join(projectRoot, 'migrations', 'index.ts');
  const text = await readFile(list, 'utf8');
  const withImport = text.replace(/\n\n\/\*\*/, `\nimport { ${className} } from './${file}.ts';$&`);
  const entry = `{ name: '${file}', class: ${className} }`;
  await writeFile(
    list,
    withImport.replace(/\s*\];\s*$/, (end) => `,\n  ${entry},\n${end.trim()}\n`),
  );
}
