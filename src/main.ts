#!/usr/bin/env node
import { nodeVersionProblem } from './node-version.ts';

// The other modules are imported after this check, because on an older Node some of them fail while they are loaded.
const problem = nodeVersionProblem(process.versions.node);
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exit(1);
}

/** Commands beside the service itself, which runs without a command. */
const COMMANDS: Record<string, () => Promise<unknown>> = {
  migrate: () => import('../tools/migrate.ts'),
  'keys:rotate': () => import('../tools/rotate-keys.ts'),
  'statistics:rebuild': () => import('../tools/rebuild-statistics.ts'),
  'tenant:import': () => import('../tools/tenant.ts'),
  'tenant:export': () => import('../tools/tenant.ts'),
};

async function serve(): Promise<void> {
  const { ConfigError, readConfig } = await import('./config.ts');
  const { createLog, logProcessWarnings } = await import('./log.ts');
  const { runUntilStopped } = await import('./run-until-stopped.ts');
  const { startService } = await import('./service.ts');
  try {
    const config = readConfig(process.env);
    const log = createLog(config.logLevel);
    logProcessWarnings(log);
    await runUntilStopped(await startService(config, { log }), log);
    process.exit(0);
  } catch (error) {
    const text = error instanceof ConfigError ? error.message : `Cannot start: ${(error as Error).message}`;
    process.stderr.write(`${text}\n`);
    process.exit(1);
  }
}

const [command] = process.argv.slice(2);
if (command === undefined) await serve();
else if (Object.hasOwn(COMMANDS, command)) await COMMANDS[command]?.();
else {
  const names = Object.keys(COMMANDS).join(', ');
  process.stderr.write(`Unknown command \`${command}\`. Without a command the service starts. Commands: ${names}.\n`);
  process.exit(1);
}
