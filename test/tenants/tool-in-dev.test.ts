import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { type Service, startService } from '../../src/service.ts';
import { projectRoot } from '../../src/project-root.ts';
import { outputOf, spawnScript } from '../support/child.ts';

describe('npm run tenant:import and tenant:export without DATABASE_URL', () => {
  let dataPath: string;
  let service: Service;
  beforeAll(async () => {
    dataPath = await mkdtemp(join(tmpdir(), 'notification-dev-'));
    const config = readConfig({ ENVIRONMENT: 'dev', SERVICE_PORT: '0', LOG_LEVEL: 'silent', DATA_PATH: dataPath });
    service = await startService(config, { log: createLog('silent') });
  });
  afterAll(async () => {
    await service.close();
    await rm(dataPath, { recursive: true });
  });

  const tool = (path: string, ...args: string[]) => outputOf(spawnScript('src/main.js', { DATA_PATH: path }, args));

  it('use the embedded database of the running service', async () => {
    const starter = join(projectRoot, 'tenants', 'starter.yaml');
    expect(await tool(dataPath, 'tenant:import', starter, '--tenant', 'tenant-dev')).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect((await tool(dataPath, 'tenant:export', 'tenant-dev')).stdout).toContain('templates:');
  });

  it('explain how to get a database when none is running', async () => {
    const { code, stderr } = await tool(join(dataPath, 'empty'), 'tenant:export', 'tenant-dev');
    expect(code).toBe(1);
    expect(stderr).toContain('npm run dev');
  });
});
