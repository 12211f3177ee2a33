import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { fastify } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { graphiqlRoutes } from '../resolvers/graphiql/graphiql.ts';
import { newId } from '../src/ids.ts';
import { eventually } from './support/eventually.ts';
import { postEvent, startTestService, type TestService, WELCOME_TEMPLATE, welcomeEvent } from './support/service.ts';

const TENANT = 'tenant-pages';

describe('the development mailbox', () => {
  let service: TestService;

  const get = (path: string): Promise<Response> => fetch(`${service.url}${path}`);
  const messages = async (query = ''): Promise<{ messages: { id: string; subject: string }[]; next: string | null }> =>
    (await (await get(`/mailbox/messages${query}`)).json()) as never;

  beforeAll(async () => {
    service = await startTestService();
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    const producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    for (const full_name of ['Nguyễn Văn A', '<script>alert(1)</script>', 'Trần Thị B']) {
      const event = welcomeEvent(TENANT, { params: { full_name, first_login_at: 'x' } });
      await postEvent(service, producer, 'notification.triggered.v1', event);
    }
    await eventually(async () => (await messages()).messages.length === 3, 'the captured mails');
  });
  afterAll(() => service.close());

  it('lists captured messages, newest first, page by page', async () => {
    const all = await messages();
    const first = await messages('?limit=2');
    expect(first.messages).toEqual(all.messages.slice(0, 2));
    const second = await messages(`?limit=2&before=${first.next}`);
    expect(second).toEqual({ messages: all.messages.slice(2), next: null });
  });

  it('shows a mail with its text as sent', async () => {
    const { messages: all } = await messages();
    const mail = all.find(({ subject }) => subject.includes('Nguyễn Văn A'));
    const page = await (await get(`/mailbox/messages/${mail?.id}`)).text();
    expect(page).toContain('Chào mừng Nguyễn Văn A');
    const html = await get(`/mailbox/messages/${mail?.id}/html`);
    expect(await html.text()).toContain('Xin chào <b>Nguyễn Văn A</b>');
    expect(await (await get(`/mailbox/messages/${mail?.id}.json`)).json()).toMatchObject({
      tenantId: TENANT,
      recipient: 'student@example.edu.vn',
    });
  });

  it('never runs scripts of a mail', async () => {
    const { messages: all } = await messages();
    const hostile = all.find(({ subject }) => subject.includes('script'));
    for (const path of ['/mailbox', `/mailbox/messages/${hostile?.id}`]) {
      const response = await get(path);
      expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(await response.text()).not.toContain('<script>alert');
    }
    const html = await get(`/mailbox/messages/${hostile?.id}/html`);
    expect(html.headers.get('content-security-policy')).toMatch(/^sandbox .*default-src 'none'/);
  });

  it('shows an error for an invalid URL', async () => {
    const unknown = await get(`/mailbox/messages/${newId()}`);
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { error_code: 'not_found' }]);
    for (const path of ['/mailbox/messages/nonsense', '/mailbox/messages?limit=0', '/mailbox/messages?before=x']) {
      const response = await get(path);
      expect([response.status, await response.json()]).toMatchObject([400, { error_code: 'validation_failed' }]);
    }
  });
});

describe('GraphiQL', () => {
  it('is served from this host only, and its hashed files are cached', async () => {
    const app = fastify();
    await graphiqlRoutes(app);
    const page = await app.inject('/graphiql/');
    expect(page.statusCode).toBe(200);
    expect(page.headers['content-security-policy']).toContain("default-src 'self'");
    expect(page.body).not.toMatch(/(src|href)="https?:/);
    const asset = /"\.\/(assets\/[^"]+\.js)"/.exec(page.body)?.[1];
    const script = await app.inject(`/graphiql/${asset}`);
    expect(script.headers['cache-control']).toContain('immutable');
    expect((await app.inject('/graphiql')).headers['location']).toBe('graphiql/');
    await app.close();
  });

  it('explains how to build it when it was not built', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'notification-graphiql-'));
    const app = fastify();
    await graphiqlRoutes(app, { directory });
    const page = await app.inject('/graphiql');
    expect([page.statusCode, page.body]).toEqual([503, expect.stringContaining('npm run build:graphiql')]);
    await app.close();
    await rm(directory, { recursive: true });
  });
});
