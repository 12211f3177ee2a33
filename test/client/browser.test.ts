import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../../src/project-root.ts';
import { InboxDocument } from '../generated/operations.ts';
import { postActivities, settled } from '../support/graph-seed.ts';
import { launchChromium } from '../services/chromium.ts';
import { query } from '../support/client.ts';
import { startTestService, type TestService } from '../support/service.ts';

const TENANT = 'tenant-browser';
const USER = 'người dùng';

/** Set by `browser/page.ts`. */
declare const ask: (url: string, token: string, query: string) => Promise<unknown>;
declare const follow: (url: string, token: string, after: string, count: number) => Promise<unknown[]>;

describe('the client in Chromium', () => {
  let service: TestService;
  let pages: Server;
  let folder: string;
  let browser: Browser;
  let page: Page;
  let token: string;
  let stream: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-browser-'));
    service = await startTestService();
    token = await service.token({ tenant_id: TENANT, sub: USER });
    stream = `${service.url.replace('http', 'ws')}/stream`;
    await build({
      configFile: false,
      logLevel: 'error',
      publicDir: false,
      build: {
        outDir: folder,
        lib: { entry: join(projectRoot, 'test/client/browser/page.ts'), formats: ['es'], fileName: 'page' },
      },
    });
    const script = await readFile(join(folder, 'page.js'));
    pages = createServer((request, response) => {
      const isScript = request.url === '/page.js';
      response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
      response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>');
    });
    await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
    browser = await launchChromium();
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(pages.address() as AddressInfo).port}/`);
    await page.waitForFunction(() => 'follow' in globalThis);
  }, 600_000);
  afterAll(async () => {
    await browser?.close();
    pages?.close();
    await service?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('runs a query over the encrypted connection, as the webSocketImpl of a standard graphql-ws client', async () => {
    const answer = await page.evaluate(
      ([url, bearer]) => ask(url as string, bearer as string, '{ unreadNotificationCount }'),
      [stream, token],
    );
    expect(answer).toEqual({ data: { unreadNotificationCount: 0 } });
  });

  it('receives the earlier notifications after a cursor, and then the new ones', async () => {
    const producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    const { notifications } = await query(service.url, token, InboxDocument, {});
    const before = Array.from({ length: 60 }, (_unused, index) => `trước ${index}`);
    await settled(service.databaseUrl, await postActivities(service, producer, TENANT, [USER], before));
    const following = page.evaluate(
      ([url, bearer, after]) => follow(url as string, bearer as string, after as string, 61),
      [stream, token, notifications.liveCursor],
    );
    await postActivities(service, producer, TENANT, [USER], ['mới']);
    const seen = await following;
    expect(new Set(seen)).toEqual(new Set([...before, 'mới']));
    expect(seen).toHaveLength(61);
  });
});
