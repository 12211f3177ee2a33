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

const compile = (): Promise<unknown> =>
  promisify(execFile)(
    process.execPath,
    [join(projectRoot, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'],
    {
      cwd: projectRoot,
    },
  );

export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  // The suites that kill the service run the compiled code in a separate process, like users do.
  const [services] = await Promise.all([provideServices(), compile()]);
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
