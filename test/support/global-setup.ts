import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { TestProject } from 'vitest/node';

import { projectRoot } from '../../src/project-root.ts';
import { provideServices } from '../services/services.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    databaseUrl: string;
    redisUrl: string;
    /** Empty when there is no Kafka. Then `kafkaUnavailable` contains the reason. */
    kafkaBrokers: string;
    kafkaUnavailable: string;
    /** The migrated database that every test file copies. */
    templateDatabase: string;
  }
}

const run = (script: string, ...args: string[]): Promise<unknown> =>
  promisify(execFile)(process.execPath, [join(projectRoot, script), ...args], { cwd: projectRoot });

// The suites that kill the service run the compiled code in a separate process, like users do.
const compile = (): Promise<unknown> => run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json');

/** The first run installs packages that `npm ci` in the root does not, which takes about a minute. */
async function prepare(): Promise<void> {
  await run('tools/install-packages.js', 'test/peers');
  await run('tools/build-graphiql.js', '--if-changed');
}

export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const [services] = await Promise.all([provideServices(), compile(), prepare()]);
  const { databaseUrl, redisUrl, kafkaBrokers = '', kafkaUnavailable = '' } = services;
  if (kafkaUnavailable !== '') {
    process.stderr.write(`${kafkaUnavailable}\nThe suites that need Kafka are skipped.\n`);
  }

  try {
    const { createTemplateDatabase } = await import('./template-database.ts');
    const template = await createTemplateDatabase(databaseUrl);
    project.provide('databaseUrl', databaseUrl);
    project.provide('redisUrl', redisUrl);
    project.provide('kafkaBrokers', kafkaBrokers);
    project.provide('kafkaUnavailable', kafkaUnavailable);
    project.provide('templateDatabase', template.templateName);
    return async () => {
      try {
        await template.drop();
      } finally {
        await services.stop();
      }
    };
  } catch (error) {
    await services.stop();
    throw error;
  }
}
