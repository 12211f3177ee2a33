import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { projectRoot } from '../../src/project-root.ts';
import { program } from '../support/npm.ts';

describe('tools/install-packages.js', () => {
  let folder: string;
  let app: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-packages-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  beforeEach(async () => {
    app = await mkdtemp(join(folder, 'app-'));
    await mkdir(join(app, 'one'));
    await mkdir(join(app, 'two'));
    await writeFile(join(app, 'one', 'package.json'), '{"name":"one","version":"1.0.0"}');
    await writeFile(join(app, 'two', 'package.json'), '{"name":"two","version":"1.0.0"}');
    await dependOn('one');
  });

  /** Writes a package.json and a package-lock.json with one dependency from a local folder, as npm would. */
  const dependOn = async (name: string): Promise<void> => {
    const root = { name: 'app', dependencies: { [name]: `file:${name}` } };
    const packages = {
      '': root,
      [name]: { version: '1.0.0' },
      [`node_modules/${name}`]: { resolved: name, link: true },
    };
    await writeFile(join(app, 'package.json'), JSON.stringify(root));
    await writeFile(
      join(app, 'package-lock.json'),
      JSON.stringify({ name: 'app', lockfileVersion: 3, requires: true, packages }),
    );
  };
  const install = () => program(projectRoot, process.execPath, join(projectRoot, 'tools', 'install-packages.js'), app);
  const installed = (name: string): boolean => existsSync(join(app, 'node_modules', name, 'package.json'));

  it('installs the packages of package-lock.json', async () => {
    await install();
    expect(installed('one')).toBe(true);
  });

  it('does not install again while package-lock.json is unchanged', async () => {
    await install();
    const marker = join(app, 'node_modules', 'marker');
    await writeFile(marker, 'kept');
    await install();
    expect(await readFile(marker, 'utf8')).toBe('kept');
  });

  it('installs again after package-lock.json has changed', async () => {
    await install();
    await dependOn('two');
    await install();
    expect([installed('one'), installed('two')]).toEqual([false, true]);
  });
});
