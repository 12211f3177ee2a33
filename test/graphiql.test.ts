// Functions that tests hand to `page.evaluate` run in the page.
/// <reference lib="dom" />

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { seedDemoHistory } from '../demo/history.ts';
import { DEMO_ADMIN, demoTokens, seedDemoTenant } from '../demo/seed.ts';
import { postActivities } from './support/graph-seed.ts';
import { launchChromium, openPage } from './services/chromium.ts';
import { eventually } from './support/eventually.ts';
import { startTestService, type TestService } from './support/service.ts';

const TENANT = 'tenant-graphiql';
const USER = 'anna';

describe('GraphiQL in Chromium', () => {
  let service: TestService;
  let browser: Browser;
  let page: Page;
  let token: string;
  let requested: string[];
  let problems: string[];

  beforeAll(async () => {
    service = await startTestService();
    token = await service.token({ tenant_id: TENANT, sub: USER, permissions: ['notif.ingest'] });
    browser = await launchChromium();
  }, 600_000);
  afterAll(async () => {
    await browser?.close();
    await service?.close();
  });

  beforeEach(async () => {
    await page?.close();
    ({ page, problems } = await openPage(browser));
    requested = [];
    page.on('request', (request) => requested.push(request.url()));
    page.on('websocket', (socket) => requested.push(socket.url()));
    await page.goto(`${service.url}/graphiql`);
    await page.getByRole('textbox', { name: /token/i }).fill(token);
    await page.locator('.graphiql-query-editor').getByText('First paste a token').waitFor();
  });

  const post = (title: string) => postActivities(service, token, TENANT, [USER], [title]);
  const open = async (name: string): Promise<void> => {
    await page.getByTitle(`Open ${name} in a new tab`).click();
    await page.locator('.graphiql-query-editor').getByText(name).first().waitFor();
  };
  const run = (): Promise<void> => page.getByRole('button', { name: /execute query/i }).click();
  /** Text of the response pane. The editor uses another character for spaces. */
  const response = async (): Promise<string> =>
    ((await page.locator('.graphiql-response').textContent()) ?? '').replaceAll('\u00a0', ' ');
  const shows = (text: string) => eventually(async () => (await response()).includes(text), `a response with ${text}`);

  it('runs a query, a mutation and a live subscription of the saved operations', async () => {
    await post('before');
    await eventually(async () => (await service.core.inbox.unreadCount({ tenantId: TENANT, userId: USER })) === 1);
    await open('UnreadCount');
    await run();
    await shows('"unreadNotificationCount": 1');

    await open('MarkAllNotificationsRead');
    await run();
    await shows('"markAllNotificationsRead": 1');

    await open('WatchInbox');
    await run();
    const connected = async () => (await service.core.clients.list(TENANT, {})).rows.length === 1;
    await eventually(connected, 'the subscription');
    await post('live in the page');
    await shows('live in the page');
    expect(problems).toEqual([]);
  });

  it('sends requests only to this service', async () => {
    await open('UnreadCount');
    await run();
    await shows('unreadNotificationCount');
    const hosts = requested.filter((url) => !/^(data|blob):/.test(url)).map((url) => new URL(url).host);
    expect(new Set(hosts)).toEqual(new Set([new URL(service.url).host]));
  });

  it('stores the token only in its tab', async () => {
    await open('UnreadCount');
    await run();
    await shows('unreadNotificationCount');
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, document.cookie, location.href]));
    expect(kept).not.toContain(token);
    const other = await page.context().newPage();
    await other.goto(`${service.url}/graphiql`);
    expect(await other.getByRole('textbox', { name: /token/i }).inputValue()).toBe('');
    await page.reload();
    expect(await page.getByRole('textbox', { name: /token/i }).inputValue()).toBe(token);
  });

  describe('opened by a link with a token', () => {
    const openLink = async (size: { width: number; height: number }): Promise<void> => {
      const opened = await openPage(browser);
      await page.close();
      ({ page, problems } = opened);
      await page.setViewportSize(size);
      await page.goto(`${service.url}/graphiql#token=${token}`);
      await page.locator('.graphiql-query-editor').getByText('FirstLook').waitFor();
    };

    it('runs its first query at once, and does not ask for a token', async () => {
      await openLink({ width: 1_280, height: 800 });
      expect(await page.locator('.graphiql-query-editor').textContent()).not.toMatch(/token/i);
      await run();
      await shows('"unreadNotificationCount":');
      expect(await response()).not.toContain('errors');
      expect(problems).toEqual([]);
    });

    const editorText = async (): Promise<string> =>
      ((await page.locator('.graphiql-query-editor').textContent()) ?? '').replaceAll('\u00a0', ' ');

    const openWithoutToken = async (): Promise<void> => {
      await page.close();
      ({ page, problems } = await openPage(browser));
      await page.goto(`${service.url}/graphiql`);
      await page.locator('.graphiql-query-editor').getByText('First paste a token').waitFor();
    };

    it.each([
      { which: 'that is open without a token', isReloaded: false },
      { which: 'that was opened without a token before', isReloaded: true },
    ])('removes the request for a token from a page $which', async ({ isReloaded }) => {
      await openWithoutToken();
      const isStored = () => page.evaluate(() => Object.values(localStorage).join('').includes('First paste a token'));
      await eventually(isStored, 'the stored tab');
      if (isReloaded) await page.goto('about:blank');
      await page.goto(`${service.url}/graphiql/#token=${token}`);
      await page.locator('.graphiql-query-editor').getByText('FirstLook').waitFor();
      await eventually(
        async () => !(await editorText()).includes('paste a token'),
        'the first query without that line',
      );
      await run();
      await shows('"unreadNotificationCount":');
      await eventually(async () => !(await isStored()), 'the stored tab without that line');
      expect(problems).toEqual([]);
    });

    it('keeps the text of a tab that the user has changed', async () => {
      await openWithoutToken();
      await page.locator('.graphiql-query-editor').getByText('First paste a token').click();
      await page.keyboard.press('Control+End');
      await page.keyboard.type('# mine');
      await page.goto(`${service.url}/graphiql/#token=${token}`);
      await page.getByRole('status').getByText(USER).waitFor();
      expect(await editorText()).toMatch(/First paste a token.*# mine/s);
    });

    it('fits into a window of 375 pixels, with every line of its first query', async () => {
      await openLink({ width: 375, height: 812 });
      await run();
      await shows('"unreadNotificationCount":');
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(375);
      const parts = [
        page.getByRole('textbox', { name: /token/i }),
        page.getByRole('button', { name: 'Clear' }),
        page.getByRole('button', { name: /execute query/i }),
        page.locator('.graphiql-query-editor'),
        page.locator('.graphiql-response'),
      ];
      for (const part of parts) {
        const box = await part.boundingBox();
        expect(box?.x).toBeGreaterThanOrEqual(0);
        expect((box?.x ?? 0) + (box?.width ?? Infinity)).toBeLessThanOrEqual(375);
      }
      const toolbar = await page.locator('.graphiql-toolbar').boundingBox();
      for (const text of await page.locator('.graphiql-query-editor .view-line > span').all()) {
        const box = await text.boundingBox();
        expect((box?.x ?? 0) + (box?.width ?? Infinity)).toBeLessThanOrEqual(toolbar?.x ?? 0);
      }
    });

    it.each([600, 700, 812])(
      'stacks its panes without overlap in 375×%i pixels with an open side panel',
      async (height) => {
        // Opened in a higher window, because editors that have grown must also shrink.
        await openLink({ width: 375, height: 1_200 });
        await page.setViewportSize({ width: 375, height });
        const parts = [
          '.graphiql-sidebar',
          '.graphiql-plugin',
          '.graphiql-session-header',
          '.graphiql-query-editor',
          '.graphiql-editor-tools',
          '.graphiql-editor-tool',
          '.graphiql-response',
        ];
        for (const panel of ['Documentation Explorer', 'Operations', 'History']) {
          await page.getByRole('button', { name: `Show ${panel}` }).click();
          await page.getByRole('button', { name: `Hide ${panel}` }).waitFor();
          const areas = await page.evaluate(
            (selectors) =>
              selectors.map((selector) => document.querySelector(selector)?.getBoundingClientRect().toJSON()),
            parts,
          );
          const ends = areas.map(({ bottom }) => Math.round(bottom));
          const starts = areas.map(({ top }) => Math.round(top));
          expect({ panel, starts: starts.slice(1) }).toEqual({ panel, starts: ends.slice(0, -1) });
          for (const { height: size } of areas) expect(size).toBeGreaterThan(40);
        }
        await page.getByRole('button', { name: /execute query/i }).click();
        await shows('"unreadNotificationCount":');
        await page.locator('.graphiql-response').scrollIntoViewIfNeeded();
        const response = await page.locator('.graphiql-response').boundingBox();
        expect((response?.y ?? 0) + (response?.height ?? Infinity)).toBeLessThanOrEqual(height);
      },
    );
  });

  describe('with the demo tenant', () => {
    let admin: string;
    beforeAll(async () => {
      const { tenantId } = await seedDemoTenant(service);
      await seedDemoHistory(service, tenantId);
      if (!service.devIdentity) throw new Error('dev keys expected');
      ({ admin } = await demoTokens(service.devIdentity, tenantId));
    });
    beforeEach(async () => {
      await page.goto(`${service.url}/graphiql/#token=${admin}`);
      await page.getByRole('status').getByText(DEMO_ADMIN).waitFor();
    });
    const answer = async (name: string): Promise<string> => {
      await open(name);
      const [result] = await Promise.all([
        page.waitForResponse((one) => (one.request().postData() ?? '').includes(`query ${name}`)),
        run(),
      ]);
      return result.text();
    };

    it('runs each saved query as it opens, without an error', async () => {
      const names = await page.locator('[aria-labelledby="operations-query"] button').allTextContents();
      expect(names).toContain('Statistics');
      const answers: Record<string, string> = {};
      for (const name of names) {
        answers[name] = await eventually(async () => {
          const text = await answer(name);
          // Right after a query is opened, GraphiQL may still send the fragments of the one before.
          if (!text.includes('is never used')) return text;
          problems.length = 0;
          return undefined;
        }, name);
      }
      const failed = Object.entries(answers).filter(([, text]) => text.includes('"errors"'));
      expect(failed).toEqual([]);
      // An erasure needs a person to erase. Its comment says where to get an id.
      const empty = Object.keys(answers).filter((name) => /^\{"data":\{"\w+":null\}/.test(answers[name] ?? ''));
      expect(empty).toEqual(['Erasure']);
      expect(answers['ExplainDelivery']).toContain('"templateId":"');
      expect(answers['Statistics']).toContain('"count":');
      expect(problems).toEqual([]);
    });

    it('says above an operation where to get its id', async () => {
      await open('Erasure');
      const text = ((await page.locator('.graphiql-query-editor').textContent()) ?? '').replaceAll('\u00a0', ' ');
      expect(text).toContain('# The mutation ErasePerson returns a value for `id`.');
    });
  });
});
