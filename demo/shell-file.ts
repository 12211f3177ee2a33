import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { DemoTokens } from './seed.ts';

/** Writes the address and the tokens as a file that a shell can source. Only its owner can read it. */
export async function writeShellFile(folder: string, url: string, tokens: DemoTokens): Promise<string> {
  const variables = {
    SERVICE: url,
    USER_TOKEN: tokens.user,
    ADMIN_TOKEN: tokens.admin,
    PRODUCER_TOKEN: tokens.producer,
  };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${value}\n`);
  const file = join(folder, 'dev.env');
  await mkdir(folder, { recursive: true });
  // Replaces an existing file, because writing to it would keep its mode.
  const fresh = `${file}.${randomUUID()}`;
  try {
    await writeFile(fresh, lines.join(''), { mode: 0o600, flag: 'wx' });
    await rename(fresh, file);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  return file;
}
