import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { writeShellFile } from '../../demo/shell-file.ts';

describe('writeShellFile', () => {
  const tokens = {
    tenantId: 'tenant-shell',
    userId: 'anna',
    user: 'user-token',
    admin: 'admin-token',
    producer: 'producer-token',
  };
  const url = 'http://127.0.0.1:8080';
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-shell-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o777;

  it('writes the address and the tokens to a new file that only its owner can read', async () => {
    const file = await writeShellFile(join(folder, 'new'), url, tokens);
    expect(await readFile(file, 'utf8')).toBe(
      `export SERVICE=${url}\nexport USER_TOKEN=user-token\nexport ADMIN_TOKEN=admin-token\nexport PRODUCER_TOKEN=producer-token\n`,
    );
    expect(await modeOf(file)).toBe(0o600);
  });

  it('replaces a file that others can read, and hides the tokens from those who have it open', async () => {
    const existing = join(folder, 'dev.env');
    await writeFile(existing, 'old', { mode: 0o644 });
    await using reader = await open(existing);
    const file = await writeShellFile(folder, url, tokens);
    expect(file).toBe(existing);
    expect(await modeOf(file)).toBe(0o600);
    expect(await readFile(file, 'utf8')).toContain('admin-token');
    expect(await reader.readFile('utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['dev.env']);
  });

  it('leaves no tokens behind when the file cannot be replaced', async () => {
    // A folder of the same name.
    await writeShellFile(join(folder, 'dev.env'), url, tokens);
    await expect(writeShellFile(folder, url, tokens)).rejects.toThrow(/EISDIR|EEXIST|ENOTEMPTY/);
    expect(await readdir(folder)).toEqual(['dev.env']);
  });
});
