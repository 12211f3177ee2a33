import type { TestProject } from 'vitest/node';
import { provideServices } from '../services/services.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    databaseUrl: string;
    redisUrl: string;
    /** Empty where there is no Kafka; then `kafkaUnavailable` says why. */
    kafkaBrokers: string;
    kafkaUnavailable: string;
    /** The migrated database that every test file makes its own from. */
    templateDatabase: string;
  }
}

export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const services = await provideServices();
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
