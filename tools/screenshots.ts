import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Browser, chromium, type Page } from 'playwright-core';

import { projectRoot } from '../src/project-root.ts';

// npm run screenshots: takes the pictures of the README from a service that it starts for this, in headless Chromium.
// TEST_CHROMIUM names another Chromium than that of the Debian package.

const CHROMIUM = process.env['TEST_CHROMIUM'] ?? '/usr/bin/chromium';
const IMAGES = join(projectRoot, 'docs', 'images');
const WAIT_MS = 30_000;

/** Maximum size of one picture, in bytes, so that the README loads fast. */
const MAX_BYTES = 200_000;

interface Shell {
  SERVICE: string;
  USER_TOKEN: string;
  ADMIN_TOKEN: string;
  PRODUCER_TOKEN: string;
}

const runScript = (script: string, env: Record<string, string> = {}): ChildProcess =>
  spawn(process.execPath, [join(projectRoot, 'dist', 'demo', script)], {
    cwd: projectRoot,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('close', (code) => resolve(code)));

/** Returns the standard output of a script that ends by itself. */
async function outputOf(child: ChildProcess): Promise<string> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await ended(child);
  if (code !== 0) throw new Error(`The script ended with ${code}:\n${output}`);
  return output;
}

/** Starts `npm run dev` on a free port and resolves when it has printed its tokens. */
async function startDev(dataPath: string): Promise<{ shell: Shell; stop(): Promise<void> }> {
  const child = runScript('dev.js', { SERVICE_PORT: '0', DATA_PATH: dataPath });
  const isEnded = ended(child);
  let printed = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.includes('signed in as admin')) resolve();
    });
    void isEnded.then((code) => reject(new Error(`The service ended with ${code} before it was up.`)));
  });
  const find = (pattern: RegExp): string => {
    const found = pattern.exec(printed)?.[1];
    if (found === undefined) throw new Error(`The service printed nothing that matches ${pattern}.`);
    return found;
  };
  return {
    shell: {
      SERVICE: find(/GraphQL +(\S+)\/graphql/),
      USER_TOKEN: find(/user user-001: (\S+)/),
      ADMIN_TOKEN: find(/admin: (\S+)/),
      PRODUCER_TOKEN: find(/producer: (\S+)/),
    },
    stop: async () => {
      child.kill('SIGTERM');
      await isEnded;
    },
  };
}

async function postEvent({ SERVICE, PRODUCER_TOKEN }: Shell, type: string, data: object): Promise<void> {
  const response = await fetch(`${SERVICE}/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${PRODUCER_TOKEN}`, 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify({ specversion: '1.0', id: randomUUID(), source: '/screenshots', type, data }),
  });
  if (response.status !== 202) throw new Error(`The event was refused: ${await response.text()}`);
}

const postActivity = (shell: Shell, title: string, body: string): Promise<void> =>
  postEvent(shell, 'signal.activity-notification', {
    tenant_id: 'tenant-vas-001',
    type: 'payment.succeeded',
    title,
    body,
    data: { order_id: 1024 },
    action_url: '/orders/1024',
    actor_id: 'user-042',
    recipient_scope: 'users',
    recipient_ids: ['user-001'],
    created_at: new Date().toISOString(),
  });

const postWelcome = (shell: Shell, email: string, name: string): Promise<void> =>
  postEvent(shell, 'notification.triggered.v1', {
    event_id: randomUUID(),
    tenant_id: 'tenant-vas-001',
    event_code: 'user.welcome',
    channel: 'email',
    recipient: email,
    params: { full_name: name, first_login_at: '09:00, 01/06/2025' },
    trace_id: randomUUID(),
    created_at: new Date().toISOString(),
  });

async function save(page: Page, name: string): Promise<void> {
  const path = join(IMAGES, `${name}.png`);
  await page.screenshot({ path });
  const { size } = await stat(path);
  if (size > MAX_BYTES) throw new Error(`${path} has ${size} bytes; the limit is ${MAX_BYTES}.`);
  process.stdout.write(`${path}  ${Math.round(size / 1_000)} KB\n`);
}

async function openPage(browser: Browser, size: { width: number; height: number }): Promise<Page> {
  const page = await browser.newPage({ viewport: size, locale: 'en-GB', timezoneId: 'Asia/Ho_Chi_Minh' });
  page.setDefaultTimeout(WAIT_MS);
  return page;
}

/** GraphiQL, with a subscription that has received a notification. */
async function takeGraphiql(browser: Browser, shell: Shell): Promise<void> {
  const page = await openPage(browser, { width: 1_500, height: 740 });
  await page.goto(`${shell.SERVICE}/graphiql#token=${shell.USER_TOKEN}`);
  const editor = page.locator('.graphiql-query-editor');
  // The page ignores clicks until its editor has loaded the first operation.
  await editor.getByText('FirstLook').first().waitFor();
  await page.getByTitle('Open WatchChanges in a new tab').click();
  await editor.getByText('WatchChanges').first().waitFor();
  await page.getByRole('button', { name: /execute query/i }).click();
  await waitForClient(shell);
  await postActivity(shell, 'Thanh toán thành công', 'Đơn hàng #1024 đã được thanh toán 250.000 ₫.');
  await page.locator('.graphiql-response').getByText('unreadCount').waitFor();
  await save(page, 'graphiql');
  await page.close();
}

/** Waits until the service lists the page's subscription: what is sent before that would not be shown. */
async function waitForClient({ SERVICE, ADMIN_TOKEN }: Shell): Promise<void> {
  for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline;) {
    const response = await fetch(`${SERVICE}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ connectedClients(first: 1) { edges { node { id } } } }' }),
    });
    const { data } = (await response.json()) as { data: { connectedClients: { edges: unknown[] } } };
    if (data.connectedClients.edges.length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('The subscription of the page was not seen.');
}

/** The mailbox, with a mail open. */
async function takeMailbox(browser: Browser, shell: Shell): Promise<void> {
  await postWelcome(shell, 'student@example.edu.vn', 'Nguyễn Văn A');
  const page = await openPage(browser, { width: 1_000, height: 470 });
  await page.goto(`${shell.SERVICE}/mailbox`);
  await page
    .getByRole('link', { name: /student@example.edu.vn/ })
    .first()
    .click();
  await page.getByText('Desktop', { exact: true }).click();
  await page.frameLocator('iframe').getByText('Nguyễn Văn A').waitFor();
  await save(page, 'mailbox');
  await page.close();
}

const escapeHtml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** Colours what matters in the demo's output; the text stays as it is. */
const colour = (line: string): string =>
  escapeHtml(line)
    .replace(/✓/, '<b class="ok">✓</b>')
    .replace(/^( *[\d.]+ s)/, '<i>$1</i>')
    .replace(/^( *│.*)$/, '<s>$1</s>');

/** The output of the demo, as a terminal shows it. */
async function takeDemo(browser: Browser, output: string): Promise<void> {
  const page = await openPage(browser, { width: 1_000, height: 600 });
  await page.setContent(`<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; background: #14161b; color: #e4e6eb; font: 14px/1.45 'DejaVu Sans Mono', monospace; }
    header { padding: 10px 16px; background: #23262e; color: #9aa0ac; }
    pre { margin: 0; padding: 14px 16px; font: inherit; white-space: pre-wrap; }
    i { color: #7d8592; font-style: normal; } s { color: #a9b8d0; text-decoration: none; }
    .ok { color: #5fd38d; } .prompt { color: #6cb6ff; }
    </style><header>notification-subgraph</header>
    <pre><span class="prompt">$</span> npm run demo\n${output.trimEnd().split('\n').map(colour).join('\n')}</pre>`);
  const { height = 600 } = (await page.locator('html').boundingBox()) ?? {};
  await page.setViewportSize({ width: 1_000, height: Math.ceil(height) });
  await save(page, 'demo');
  await page.close();
}

const dataPath = await mkdtemp(join(tmpdir(), 'notification-screenshots-'));
// The embedded database runs as another user where this runs as root.
await chmod(dataPath, 0o755);
await mkdir(IMAGES, { recursive: true });
await using parts = new AsyncDisposableStack();
parts.defer(() => rm(dataPath, { recursive: true, force: true }));

const output = await outputOf(runScript('demo.js'));
const { shell, stop } = await startDev(dataPath);
parts.defer(stop);
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
});
parts.defer(() => browser.close());
await takeDemo(browser, output);
await takeGraphiql(browser, shell);
await takeMailbox(browser, shell);
