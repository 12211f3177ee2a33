// Functions that tests hand to `page.evaluate` run in the page.
/// <reference lib="dom" />

import { type Browser, chromium, type Page } from 'playwright-core';

import { run } from './processes.ts';
import { installDebianPackages } from './sources.ts';

/** A headless Chromium that sends requests only to the pages under test. */
export const launchChromium = async (): Promise<Browser> =>
  chromium.launch({
    executablePath: await findChromium(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  });

/** Opens a page in a new browser context and collects its errors. */
export async function openPage(browser: Browser): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1_400, height: 900 } });
  const page = await context.newPage();
  page.once('close', () => void context.close().catch(() => {}));
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  return { page, problems };
}

/** Returns the path of a Chromium and installs one if possible. `TEST_CHROMIUM` overrides the path. */
async function findChromium(): Promise<string> {
  const named = process.env['TEST_CHROMIUM'];
  if (named) return named;
  const found = await installedChromium();
  if (found !== undefined) return found;
  await installDebianPackages('chromium');
  const installed = await installedChromium();
  if (installed === undefined) throw new Error('The Debian package chromium is installed but does not run.');
  return installed;
}

async function installedChromium(): Promise<string | undefined> {
  const path = '/usr/bin/chromium';
  return run(path, ['--version']).then(
    () => path,
    () => undefined,
  );
}
