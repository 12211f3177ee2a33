import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../src/project-root.ts';
import { UnreadCountDocument } from './generated/operations.ts';
import { outputOf, spawnScript } from './support/child.ts';
import { query } from './support/client.ts';
import { eventually } from './support/eventually.ts';
import { type Block, readPage, readPages, tableUnder } from './support/pages.ts';

const readme = readPage('README.md');

/** Returns the shell blocks of a page that a reader can paste. */
const pasted = ({ blocks }: { blocks: Block[] }): string[] =>
  blocks.filter(({ language, info }) => language === 'sh' && info === '').map(({ code }) => code);

describe('the README', () => {
  it('has at most 300 lines and the expected headings in order', () => {
    expect(readme.text.trimEnd().split('\n').length).toBeLessThanOrEqual(300);
    expect([...readme.prose.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)).toEqual([
      'Who it is for',
      'Two commands',
      'Beside Novu, Knock and your own code',
      'Produce, query, subscribe',
      'How it fits together',
      'Where to read on',
    ]);
  });

  it('describes a demo that completes every step and exits with 0', async () => {
    const { code, stdout, stderr } = await outputOf(spawnScript('demo/demo.js', {}));
    expect(stderr).toBe('');
    for (const step of [
      'notification.triggered.v1 accepted',
      'Chào mừng Nguyễn Văn A',
      'delivery log says sent',
      'live message arrived',
      'everything was seen',
    ]) {
      expect(stdout).toContain(step);
    }
    expect(code).toBe(0);
  });
});

describe('while npm run dev is running', () => {
  /** A folder with the files that the blocks need: the dependencies and the data of the service. */
  let folder: string;
  let printed = '';
  let output: ReturnType<typeof outputOf>;
  let stop: () => void;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-readme-'));
    // The embedded database runs as another user when this test runs as root.
    await chmod(folder, 0o755);
    await mkdir(join(folder, '.data'), { mode: 0o755 });
    await symlink(join(projectRoot, 'node_modules'), join(folder, 'node_modules'));
    const child = spawnScript('demo/dev.js', { SERVICE_PORT: '0', DATA_PATH: join(folder, '.data') });
    output = outputOf(child);
    child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    stop = () => child.kill('SIGTERM');
    await eventually(() => printed.includes('GraphiQL, signed in as admin'), 'the addresses and tokens');
  });
  afterAll(async () => {
    stop?.();
    await output;
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const paste = async (code: string, env: Record<string, string> = {}): Promise<string> => {
    const running = promisify(execFile)('bash', ['-e'], {
      cwd: folder,
      timeout: 30_000,
      env: { PATH: process.env['PATH'] ?? '', ...env },
    });
    running.child.stdin?.end(code);
    const { stdout, stderr } = await running;
    expect(stderr).toBe('');
    return stdout;
  };

  const [produce = '', query_ = '', subscribe = '', ...others] = pasted(readme);

  it.each([
    ['once', {}],
    ['a second time, on a Node without a global WebSocket', { NODE_OPTIONS: '--no-experimental-websocket' }],
  ])('the three blocks of the README succeed when pasted %s', async (_when, env: Record<string, string>) => {
    expect(others).toEqual([]);
    expect(JSON.parse(await paste(produce, env))).toMatchObject({ results: [{ status: 'accepted' }] });
    expect(JSON.parse(await paste(query_, env))).toMatchObject({
      data: {
        notificationLogs: {
          edges: expect.arrayContaining([{ node: expect.objectContaining({ eventCode: 'user.welcome' }) }]),
        },
      },
    });
    expect(await paste(subscribe, env)).toContain('Thanh toán thành công');
  });

  it.each(
    readPages()
      .filter(({ path }) => path !== 'README.md')
      .flatMap(({ path, ...page }) => pasted(page).map((code) => [path, code] as const)),
  )('a block of %s succeeds when pasted twice', async (_path, code) => {
    for (let time = 0; time < 2; time += 1) {
      const answer = JSON.parse(await paste(code)) as { errors?: unknown; results?: { status: string }[] };
      expect(answer.errors).toBeUndefined();
      expect(answer.results?.filter(({ status }) => status !== 'accepted') ?? []).toEqual([]);
    }
  });

  it('the printed URLs are served and the printed tokens are accepted', async () => {
    const [base] = /http:\/\/127\.0\.0\.1:\d+/.exec(printed) ?? [''];
    for (const path of ['graphiql/', 'mailbox', 'healthz', 'readyz']) {
      expect((await fetch(`${base}/${path}`)).status, path).toBe(200);
    }
    const token = /^ {2}user user-001: (\S+)$/m.exec(printed)?.[1];
    expect(await query(base, token as string, UnreadCountDocument)).toEqual({
      unreadNotificationCount: expect.any(Number),
    });
  });

  it('serves the addresses of docs/operators.md', async () => {
    const [base] = /http:\/\/127\.0\.0\.1:\d+/.exec(printed) ?? [''];
    const paths = tableUnder(readPage('docs/operators.md'), '## Addresses').map(([path = '']) =>
      path.replaceAll('`', ''),
    );
    expect(paths).toContain('/healthz');
    // Not served without PUBLIC_URL, and a WebSocket only.
    const others = new Set(['/unsubscribe', '/stream']);
    for (const path of paths.filter((one) => !others.has(one))) {
      const method = path === '/events' ? 'POST' : 'GET';
      expect((await fetch(`${base}${path}`, { method })).status, path).not.toBe(404);
    }
  });

  it('the printed tokens are also in a file that only its owner can read', async () => {
    const file = join(folder, '.data', 'dev.env');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8').match(/^export [A-Z_]+=\S+$/gm)).toHaveLength(4);
    for (const [, token = ''] of readFileSync(file, 'utf8').matchAll(/_TOKEN=(\S+)$/gm))
      expect(printed).toContain(token);
  });

  it('SIGTERM stops it with exit code 0', async () => {
    stop();
    expect(await output).toMatchObject({ code: 0, stderr: '' });
  });
});
