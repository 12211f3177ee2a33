import { run } from './processes.ts';
import { installDebianPackages } from './sources.ts';

/** The path of a Chromium, installed first where that is possible. `TEST_CHROMIUM` names another one. */
export async function findChromium(): Promise<string> {
  const named = process.env['TEST_CHROMIUM'];
  if (named) return named;
  const found = await installedChromium();
  if (found !== undefined) return found;
  await installDebianPackages('chromium');
  const installed = await installedChromium();
  if (installed === undefined) throw new Error('The Debian package chromium is installed, and does not run.');
  return installed;
}

async function installedChromium(): Promise<string | undefined> {
  const path = '/usr/bin/chromium';
  return run(path, ['--version']).then(
    () => path,
    () => undefined,
  );
}
