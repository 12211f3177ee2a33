import { relative } from 'node:path';

import { ConfigError, readConfig } from '../src/config.ts';
import { createLog, logProcessWarnings } from '../src/log.ts';
import { startService } from '../src/service.ts';
import { runUntilStopped } from '../src/run-until-stopped.ts';
import { seedDemoHistory } from './history.ts';
import { demoTokens, seedDemoTenant } from './seed.ts';
import { writeShellFile } from './shell-file.ts';

// npm run dev: the service with its embedded parts, the demo tenant, and tokens to try it with.

try {
  const config = readConfig({ LOG_LEVEL: 'warn', ...process.env, ENVIRONMENT: 'dev' });
  const log = createLog(config.logLevel);
  logProcessWarnings(log);
  let adminToken: string | undefined;
  const service = await startService(config, { log, graphiqlToken: () => adminToken });
  const { tenantId } = await seedDemoTenant(service);
  await seedDemoHistory(service, tenantId);
  const { url, devIdentity } = service;
  const lines = [
    '',
    `  GraphQL    ${url}/graphql`,
    `  GraphiQL   ${url}/graphiql`,
    `  Mailbox    ${url}/mailbox`,
    `  Health     ${url}/healthz  ${url}/readyz`,
    `  Events     POST ${url}/events`,
    '',
  ];
  if (devIdentity) {
    const tokens = await demoTokens(devIdentity, tenantId);
    adminToken = tokens.admin;
    const file = await writeShellFile(config.dataPath, url, tokens);
    lines.push(
      `  Shell      . ${relative(process.cwd(), file)}   exports SERVICE, USER_TOKEN, ADMIN_TOKEN and PRODUCER_TOKEN`,
      '',
      `  Tokens of ${tenantId} (30 days)`,
      `  user ${tokens.userId}: ${tokens.user}`,
      '',
      `  admin: ${tokens.admin}`,
      '',
      `  producer: ${tokens.producer}`,
      '',
      `  GraphiQL, signed in as admin: ${url}/graphiql#token=${tokens.admin}`,
      '',
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  await runUntilStopped(service, log);
  process.exit(0);
} catch (error) {
  const text = error instanceof ConfigError ? error.message : `Cannot start: ${(error as Error).message}`;
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
