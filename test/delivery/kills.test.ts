import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { describe, expect, inject, it } from 'vitest';

import { projectRoot } from '../../src/project-root.ts';

describe('npm run test:crash', () => {
  it('reports no lost event, and no duplicate mail except after a kill during its send', async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['test/crash/crash.ts', '--events', '400', '--kills', '3'],
      {
        cwd: projectRoot,
        env: { PATH: process.env['PATH'], TEST_DATABASE_URL: inject('databaseUrl') },
      },
    );
    expect(stdout).toContain('ok   400 events have 400 records');
    expect(stdout).not.toContain('FAIL');
  }, 120_000);
});
