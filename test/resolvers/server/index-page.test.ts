import { get } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { exportSPKI } from 'jose';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { launchChromium, openPage } from '../../services/chromium.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { createSigner, type Signer } from '../../identity/issuer.ts';

interface Index {
  name: string;
  version: string;
  links: { name: string; method: string; path: string }[];
}

const ask = async (url: string, headers: Record<string, string> = {}): Promise<Index> =>
  (await (await fetch(url, { headers })).json()) as Index;
/** Returns the page, asked for under a name. `fetch` does not let a caller set the header `Host`. */
const pageAs = (url: string, host: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get(`${url}/`, { headers: { accept: 'text/html', host } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
const names = ({ links }: Index): string[] => links.map(({ name }) => name);

describe('the page at /', () => {
  let dev: TestService;
  let token: string;
  beforeAll(async () => {
    dev = await startTestService({}, { graphiqlToken: () => token });
    token = await dev.token({ tenant_id: 'tenant-index', permissions: [] });
  });
  afterAll(() => dev.close());

  it('answers JSON with name, version and links to clients that do not ask for HTML', async () => {
    const index = await ask(`${dev.url}/`);
    expect(index).toMatchObject({ name: 'notification-subgraph', version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(names(index)).toEqual(['GraphiQL', 'Mailbox', 'GraphQL', 'Events', 'Alive', 'Ready', 'Metrics']);
  });

  it('answers HTML with a strict content security policy to clients that ask for HTML', async () => {
    const response = await fetch(`${dev.url}/`, { headers: { accept: 'text/html,application/xml;q=0.9,*/*;q=0.8' } });
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(await response.text()).toContain('<a href="mailbox">');
  });

  it.each(['localhost', '127.0.0.1:8080', '[::1]:8080'])(
    'links to GraphiQL with a token under the name %s',
    async (host) => {
      expect(await pageAs(dev.url, host)).toContain(`<a href="graphiql#token=${token}">`);
    },
  );

  it.each(['example.com', '127.0.0.1.example.com', 'localhost.example.com:8080'])(
    'contains no token under the name %s',
    async (host) => {
      const text = await pageAs(dev.url, host);
      expect(text).toContain('<a href="graphiql">');
      expect(text).not.toContain(token);
    },
  );

  it('contains no token when the service listens on all addresses', async () => {
    const open = await dev.startAnother({ SERVICE_HOST: '0.0.0.0' });
    expect(await pageAs(open.url, 'localhost')).toContain('<a href="graphiql">');
    await open.close();
  });

  it('links only to pages that exist', async () => {
    const { links } = await ask(`${dev.url}/`);
    const pages = links.filter(({ method }) => method === 'GET');
    const answers = await Promise.all(pages.map(async ({ path }) => (await fetch(`${dev.url}/${path}`)).status));
    expect(answers).toEqual(pages.map(() => 200));
  });

  it('contains no link to a URL that the roles of the process do not serve', async () => {
    const api = await dev.startAnother({ ROLES: 'api' });
    expect(names(await ask(`${api.url}/`))).not.toContain('Events');
    await api.close();
  });

  describe('in Chromium', () => {
    let browser: Browser;
    beforeAll(async () => {
      browser = await launchChromium();
    }, 600_000);
    afterAll(() => browser?.close());

    it('applies its style under its content security policy, and its link opens the mailbox', async () => {
      const { page, problems } = await openPage(browser);
      await page.goto(`${dev.url}/`);
      expect(await page.locator('dl').evaluate((list) => getComputedStyle(list).display)).toBe('grid');
      await page.getByRole('link', { name: 'Mailbox' }).click();
      await page.getByRole('heading', { name: 'Mailbox' }).waitFor();
      expect(problems).toEqual([]);
    });

    it('links to a GraphiQL that is signed in', async () => {
      const { page, problems } = await openPage(browser);
      await page.goto(`${dev.url}/`);
      await page.getByRole('link', { name: 'GraphiQL' }).click();
      await page.locator('.graphiql-query-editor').getByText('FirstLook').waitFor();
      await page.getByRole('button', { name: /execute query/i }).click();
      await page.locator('.graphiql-response').getByText('"unreadNotificationCount"').waitFor();
      expect(page.url()).toBe(`${dev.url}/graphiql/`);
      expect(problems).toEqual([]);
    });
  });

  describe('outside dev', () => {
    let folder: string;
    let staging: TestService;
    let signer: Signer;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'notification-index-'));
      signer = await createSigner('ES256', 'staging');
      const path = join(folder, 'public.pem');
      await writeFile(path, await exportSPKI(signer.publicKey));
      staging = await startTestService(
        {
          ENVIRONMENT: 'production',
          ROLES: 'api,consumer',
          REDIS_URL: inject('redisUrl'),
          KAFKA_BROKERS: '127.0.0.1:1',
          JWT_PUBLIC_KEY_PATH: path,
          SERVICE_HOST: '127.0.0.1',
        },
        { graphiqlToken: () => token },
      );
    });
    afterAll(async () => {
      await staging.close();
      await rm(folder, { recursive: true, force: true });
    });

    it.each([
      { caller: 'a caller without a token', permissions: undefined, expected: ['GraphiQL'] },
      { caller: 'a user', permissions: [], expected: ['GraphiQL', 'GraphQL'] },
      { caller: 'a producer', permissions: ['notif.ingest'], expected: ['GraphiQL', 'GraphQL', 'Events'] },
    ])('shows $caller only the permitted links', async ({ permissions, expected }) => {
      const headers = permissions ? { authorization: `Bearer ${await signer.sign({ permissions })}` } : {};
      expect(names(await ask(`${staging.url}/`, headers))).toEqual(expected);
    });

    it('contains no token, even on a loopback address', async () => {
      const text = await pageAs(staging.url, 'localhost');
      expect(text).toContain('<a href="graphiql">');
      expect(text).not.toContain(token);
    });

    it('shows the same links for an invalid token as without a token', async () => {
      expect(names(await ask(`${staging.url}/`, { authorization: 'Bearer a.b.c' }))).toEqual(['GraphiQL']);
    });
  });
});
