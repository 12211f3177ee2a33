import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import {
  AuditTrailDocument,
  CreateTemplateDocument,
  DeliveryLogDocument,
  PreviewTemplateDocument,
  PublishTemplateDocument,
  SetTemplateActiveDocument,
  TemplateHistoryDocument,
  UpdateTemplateDocument,
} from '../../generated/operations.ts';
import { query, run } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import type { Service } from '../../../src/service.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';
import { postWelcomes, settled } from '../../support/graph-seed.ts';

const TENANT = 'tenant-editing';
const BODY = '<p>Dear {{full_name}}, your total is {{formatMoney total currency="VND"}}.</p>';

describe('a template', () => {
  let service: TestService;
  let other: Service;
  let admin: string;
  let events = 0;
  beforeAll(async () => {
    service = await startTestService({ REDIS_URL: inject('redisUrl') });
    other = await service.startAnother({ ROLES: 'api' });
    admin = await service.token({
      tenant_id: TENANT,
      sub: 'admin',
      permissions: [
        'notif.read.template',
        'notif.write.template',
        'notif.read.audit',
        'notif.read.log',
        'notif.read.recipient',
        'notif.ingest',
      ],
    });
  });
  afterAll(() => service.close());

  const texts = (changes: object = {}) => ({
    eventCode: `order.paid.${(events += 1)}`,
    channel: 'EMAIL' as const,
    locale: 'vi',
    subject: 'Hello {{full_name}}',
    body: BODY,
    ...changes,
  });
  const create = async (changes: object = {}) =>
    (await query(service.url, admin, CreateTemplateDocument, { input: texts(changes) })).createNotificationTemplate;
  const history = async (id: string) =>
    (await query(service.url, admin, TemplateHistoryDocument, { id })).notificationTemplate;
  const publish = (id: string, version: number) => query(service.url, admin, PublishTemplateDocument, { id, version });
  /** Sends with the published version and returns the captured message. */
  const send = async (eventCode: string, params: object = { full_name: 'Anna', total: 1_000 }) => {
    const [id] = (await postWelcomes(service, admin, TENANT, [{ event_code: eventCode, params }])) as [string];
    await settled(service.databaseUrl, [id]);
    const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id });
    const [mail] = await sql<{ subject: string; html: string }>(
      service.databaseUrl,
      'select subject, html from sandbox_message where log_id = $1',
      [id],
    );
    return { log: notificationLog, mail };
  };

  it('can be drafted, published and rolled back, while each delivery keeps its version', async () => {
    const made = await create();
    expect(made).toMatchObject({ version: null, latestVersion: 1, body: null });
    expect((await send(made.eventCode)).log).toMatchObject({ status: 'FAILED', errorCode: 'template_not_found' });

    await publish(made.id, 1);
    const first = await send(made.eventCode);
    expect(first.log).toMatchObject({ status: 'SENT', templateVersion: 1, locale: 'vi' });
    expect(first.mail?.subject).toBe('Hello Anna');
    expect(first.mail?.html).toMatch(/<html lang="vi">.*<p>Dear Anna, your total is 1\.000\u00a0₫\.<\/p>/);

    const update = { id: made.id, subject: 'Xin chào {{full_name}}', expectedVersion: 1 };
    const { updateNotificationTemplate } = await query(service.url, admin, UpdateTemplateDocument, { input: update });
    expect(updateNotificationTemplate).toMatchObject({ version: 1, latestVersion: 2, subject: 'Hello {{full_name}}' });
    expect((await send(made.eventCode)).mail?.subject).toBe('Hello Anna');
    await publish(made.id, 2);
    expect((await send(made.eventCode)).mail?.subject).toBe('Xin chào Anna');
    await publish(made.id, 1);
    const again = await send(made.eventCode);
    expect(again.log?.templateVersion).toBe(1);
    // The same version and event give the same text.
    expect(again.mail).toEqual(first.mail);

    await query(service.url, admin, SetTemplateActiveDocument, { id: made.id, active: false });
    expect((await send(made.eventCode)).log).toMatchObject({ errorCode: 'template_not_found' });
    expect((await history(made.id))?.versions.map(({ version, createdBy }) => [version, createdBy])).toEqual([
      [2, 'admin'],
      [1, 'admin'],
    ]);
  });

  it('keeps the email layout of the time when its version was created', async () => {
    const tenant = 'tenant-layout';
    const author = await service.token({
      tenant_id: tenant,
      permissions: ['notif.read.template', 'notif.write.template', 'notif.ingest'],
    });
    const make = async (eventCode: string, body: string) => {
      const input = texts({ eventCode, body });
      const { createNotificationTemplate: made } = await query(service.url, author, CreateTemplateDocument, { input });
      await query(service.url, author, PublishTemplateDocument, { id: made.id, version: 1 });
      return made.id;
    };
    const layout = await make('email.layout', '<mjml><mj-body>{{> body}}{{> foot}}</mj-body></mjml>');
    const section = (text: string) => `<mj-section><mj-column><mj-text>${text}</mj-text></mj-column></mj-section>`;
    await make('email.partial.foot', section('Foot {{city}}'));
    const id = await make('order.shipped', section('Dear {{full_name}}'));
    const { notificationTemplate } = await query(service.url, author, TemplateHistoryDocument, { id });
    expect(notificationTemplate?.requiredVariables.map(({ path }) => path)).toEqual(['city', 'full_name']);

    const mail = async () => {
      const params = { full_name: 'Anna', city: 'Huế' };
      const [event] = (await postWelcomes(service, author, tenant, [{ event_code: 'order.shipped', params }])) as [
        string,
      ];
      await settled(service.databaseUrl, [event]);
      const sent = 'select html from sandbox_message where log_id = $1';
      return (await sql<{ html: string }>(service.databaseUrl, sent, [event]))[0]?.html;
    };
    const first = await mail();
    expect(first).toMatch(/^\s*<!doctype html>\s*<html lang="vi"[^]*Dear Anna[^]*Foot Huế/);
    const body = '<mjml><mj-body>{{> body}}</mj-body></mjml>';
    await query(service.url, author, UpdateTemplateDocument, { input: { id: layout, body } });
    await query(service.url, author, PublishTemplateDocument, { id: layout, version: 2 });
    expect(await mail()).toBe(first);
    await query(service.url, author, UpdateTemplateDocument, { input: { id } });
    await query(service.url, author, PublishTemplateDocument, { id, version: 2 });
    expect(await mail()).not.toContain('Foot');
    await query(service.url, author, PublishTemplateDocument, { id, version: 1 });
    expect(await mail()).toBe(first);
  });

  it('refuses a change with an outdated `expectedVersion`', async () => {
    const { id } = await create();
    const change = (body: string, expectedVersion: number) =>
      run(service.url, admin, UpdateTemplateDocument, { input: { id, body, expectedVersion } });
    const [one, two] = await Promise.all([change('<p>one</p>', 1), change('<p>two</p>', 1)]);
    const failed = one.errors.length > 0 ? one : two;
    expect([one.status, two.status].toSorted()).toEqual([200, 409]);
    expect(failed.errors).toMatchObject([{ extensions: { error_code: 'conflict', latest_version: 2 } }]);
    expect((await history(id))?.latestVersion).toBe(2);
  });

  it('records a line diff of each change in the audit trail', async () => {
    const { id } = await create();
    await query(service.url, admin, UpdateTemplateDocument, { input: { id, body: '<p>Bye {{full_name}}</p>' } });
    await publish(id, 2);
    await publish(id, 1);
    const { auditEvents } = await query(service.url, admin, AuditTrailDocument, {
      first: 4,
      filter: { actions: ['notification.template.updated'], actorId: 'admin' },
    });
    const trail = auditEvents.edges.map(({ node }) => node.details as Record<string, unknown>).toReversed();
    expect(trail.map(({ template_id, change, version }) => [template_id, change, version])).toEqual([
      [id, 'created', 1],
      [id, 'drafted', 2],
      [id, 'published', 2],
      [id, 'rolled_back', 1],
    ]);
    expect(trail[1]?.['diff']).toContain(`-${BODY}\n+<p>Bye {{full_name}}</p>`);
  });

  it('lists its required variables, including those in lists and conditions', async () => {
    const { id } = await create({
      body: '<p>{{customer.name}}{{#each items as |item|}}{{item.name}}{{price}}{{../currency}}{{/each}}{{#if vip}}{{level}}{{/if}}</p>',
    });
    expect((await history(id))?.requiredVariables).toEqual([
      { path: 'currency', isOptional: false },
      { path: 'customer.name', isOptional: false },
      { path: 'full_name', isOptional: false },
      { path: 'items', isOptional: false },
      { path: 'items[].name', isOptional: false },
      { path: 'items[].price', isOptional: false },
      { path: 'level', isOptional: true },
      { path: 'vip', isOptional: true },
    ]);
  });

  it.each([
    ['an unknown helper', { body: '<p>\n  {{shout name}}</p>' }, { path: 'input.body', line: 2, column: 5 }],
    ['a block that is not closed', { body: '<p>\n\n{{#if a}}</p>' }, { path: 'input.body', line: 3, column: 1 }],
    ['a block that is closed by another', { body: '{{#if a}}{{/each}}' }, { path: 'input.body', line: 1, column: 10 }],
    ['an expression with a syntax error', { subject: 'Hi {{a..b}}' }, { path: 'input.subject', line: 1 }],
    ['a partial', { body: 'x {{> secret}}' }, { path: 'input.body', line: 1, column: 3 }],
    ['a decorator', { body: '{{* inline}}' }, { path: 'input.body', line: 1, column: 1 }],
    ['a path to a prototype', { body: 'x {{constructor.name}}' }, { path: 'input.body', line: 1, column: 5 }],
    ['a path above the top level', { body: '{{../../secret}}' }, { path: 'input.body', line: 1 }],
    ['raw HTML', { body: '<p>{{{html}}}</p>' }, { path: 'input.body' }],
    ['raw HTML with {{&…}}', { body: '<p>{{&html}}</p>' }, { path: 'input.body' }],
    ['a script', { body: '<p>x</p>\n<script>1</script>' }, { path: 'input.body', line: 2, column: 1 }],
    ['an event handler', { body: '<p onclick="x">x</p>' }, { path: 'input.body', line: 1, column: 1 }],
    ['an unsafe address', { body: '<a href="java\tscript:alert(1)">x</a>' }, { path: 'input.body', line: 1 }],
    ['an attribute without quotes', { body: '<a href={{url}}>x</a>' }, { path: 'input.body', line: 1, column: 9 }],
    ['more than 64 KB', { body: 'x'.repeat(65_537) }, { path: 'input.body' }],
    ['21 nested blocks', { body: `${'{{#if a}}'.repeat(21)}${'{{/if}}'.repeat(21)}` }, { path: 'input.body' }],
    ['no subject', { subject: null }, { path: 'input.subject' }],
    ['an invalid language', { locale: 'not a language' }, { path: 'input.locale' }],
    ['an invalid event code', { eventCode: 'a b' }, { path: 'input.eventCode' }],
  ])('is refused with %s, and the error contains the position', async (_what, changes, place) => {
    const { status, errors } = await run(service.url, admin, CreateTemplateDocument, { input: texts(changes) });
    expect(status).toBe(400);
    expect(errors).toMatchObject([
      {
        extensions: {
          error_code: 'validation_failed',
          fields: expect.arrayContaining([expect.objectContaining(place)]),
        },
      },
    ]);
  });

  it('may contain raw HTML when its author has the permission', async () => {
    const permissions = ['notif.write.template', 'notif.write.template.raw'];
    const author = await service.token({ tenant_id: TENANT, permissions });
    const { errors } = await run(service.url, author, CreateTemplateDocument, {
      input: texts({ body: '<p>{{{html}}}</p>' }),
    });
    expect(errors).toEqual([]);
  });

  it('is not found when it belongs to another tenant or the version does not exist', async () => {
    const { id } = await create();
    const stranger = await service.token({ tenant_id: 'tenant-other', permissions: ['notif.write.template'] });
    const input = { id, body: '<p>x</p>' };
    for (const answer of [
      await run(service.url, stranger, UpdateTemplateDocument, { input }),
      await run(service.url, stranger, PublishTemplateDocument, { id, version: 1 }),
      await run(service.url, stranger, SetTemplateActiveDocument, { id, active: false }),
      await run(service.url, admin, PublishTemplateDocument, { id, version: 9 }),
      await run(service.url, admin, PublishTemplateDocument, { id: 'nonsense', version: 1 }),
    ]) {
      expect(answer).toMatchObject({ status: 404, errors: [{ extensions: { error_code: 'not_found' } }] });
    }
  });

  it('is named with its newest version when the version to publish does not exist', async () => {
    const { id, eventCode } = await create();
    const { errors } = await run(service.url, admin, PublishTemplateDocument, { id, version: 9 });
    expect(errors).toMatchObject([
      { message: `Template \`${eventCode}\` (email, vi) has no version 9. Its newest version is 1.` },
    ]);
  });

  it('is unique for an event code, channel and language', async () => {
    const { eventCode } = await create();
    expect(await run(service.url, admin, CreateTemplateDocument, { input: texts({ eventCode }) })).toMatchObject({
      status: 409,
      errors: [{ extensions: { error_code: 'conflict' } }],
    });
  });

  it('is sent by every instance after a change through one of them', async () => {
    const { id, eventCode } = await create();
    await publish(id, 1);
    expect((await send(eventCode)).mail?.subject).toBe('Hello Anna');
    await query(other.url, admin, UpdateTemplateDocument, { input: { id, subject: 'From elsewhere' } });
    await query(other.url, admin, PublishTemplateDocument, { id, version: 2 });
    await eventually(async () => (await send(eventCode)).mail?.subject === 'From elsewhere', 'the new subject');
  });

  describe('preview', () => {
    const preview = async (input: object) =>
      (await query(service.url, admin, PreviewTemplateDocument, { input })).previewTemplate;

    it('renders the message in any language and lists missing and unused variables', async () => {
      const { id } = await create();
      const params = { full_name: 'Anna', total: 1_234_567, unused: 1 };
      expect(await preview({ templateId: id, params })).toEqual({
        subject: 'Hello Anna',
        html: expect.stringContaining('<p>Dear Anna, your total is 1.234.567\u00a0₫.</p>'),
        text: 'Dear Anna, your total is 1.234.567\u00a0₫.',
        locale: 'vi',
        missingVariables: [],
        unusedVariables: ['unused'],
        problem: null,
        sms: null,
        warnings: [],
      });
      expect(await preview({ templateId: id, params, locale: 'en' })).toMatchObject({
        html: expect.stringMatching(/<html lang="en">.*<p>Dear Anna, your total is ₫1,234,567\.<\/p>/),
      });
      expect(await preview({ templateId: id, params: { total: 1 } })).toMatchObject({
        subject: 'Hello «full_name»',
        missingVariables: ['full_name'],
      });
      expect(await preview({ templateId: id, params: { full_name: 'Anna', total: 'much' } })).toMatchObject({
        html: null,
        problem: expect.stringContaining('needs a number'),
      });
    });

    it('shows encoding and segments of an SMS, and warns when it is too long', async () => {
      const sms = async (body: string, params = {}) => {
        const { sms: size, warnings } = await preview({ channel: 'SMS', body, params });
        return { size, warnings };
      };
      expect(await sms('Total: 5 €')).toEqual({
        size: { encoding: 'GSM_7', characters: 11, segments: 1 },
        warnings: [],
      });
      expect(await sms('{{n}}', { n: 'đ'.repeat(71) })).toEqual({
        size: { encoding: 'UCS_2', characters: 71, segments: 2 },
        warnings: [],
      });
      expect(await sms('{{n}}', { n: 'a'.repeat(153 * 10 + 1) })).toEqual({
        size: { encoding: 'GSM_7', characters: 1_531, segments: 11 },
        warnings: ['The SMS has 11 segments. Many gateways refuse more than 10.'],
      });
      expect(await sms('{{formatDate n}}', { n: 'x' })).toEqual({ size: null, warnings: [] });
    });

    it('warns when an email of a category that people can opt out of has no link to unsubscribe', async () => {
      const by = { userId: 'admin', traceId: 't' };
      const events = { 'news.letter': { category: 'news' }, 'login.alert': { category: 'security' } };
      const categories = { security: { isMandatory: true } };
      await service.core.settings.save(TENANT, { events, categories }, by);
      const warnings = async (eventCode: string, body: string) =>
        (await preview({ channel: 'EMAIL', eventCode, subject: 's', body })).warnings;
      const warning =
        'People can opt out of the category news, but the email has no link to unsubscribe. Add @unsubscribeUrl.';
      expect(await warnings('news.letter', '<p>Hi</p>')).toEqual([warning]);
      expect(await warnings('news.letter', '<a href="{{@unsubscribeUrl}}">Stop</a>')).toEqual([]);
      expect(await warnings('login.alert', '<p>Hi</p>')).toEqual([]);
      expect(await warnings('other', '<p>Hi</p>')).toEqual([]);
      const { id } = await create({ eventCode: 'news.letter', body: '<p>{{#if @unsubscribeUrl}}x{{/if}}</p>' });
      const shown = async () =>
        (await run(service.url, admin, `{ notificationTemplate(id: "${id}") { warnings } }`)).data as unknown;
      expect(await shown()).toEqual({ notificationTemplate: { warnings: [] } });
      await query(service.url, admin, UpdateTemplateDocument, { input: { id, body: '<p>Hi</p>' } });
      expect(await shown()).toEqual({ notificationTemplate: { warnings: [warning] } });
      expect((await preview({ templateId: id })).warnings).toEqual([warning]);
    });

    it('renders the version of an id in upper case', async () => {
      const { id } = await create();
      const input = { templateId: id.toUpperCase(), params: { full_name: 'Anna', total: 1 } };
      expect(await preview(input)).toMatchObject({ subject: 'Hello Anna' });
      expect(await preview({ ...input, version: 1 })).toMatchObject({ subject: 'Hello Anna' });
    });

    it('renders a version that 100 newer ones follow', async () => {
      const { id } = await create();
      await sql(
        service.databaseUrl,
        `with added as (
          insert into notification_template_version (template_id, version, tenant_id, subject, body, default_params)
          select template_id, version + step, tenant_id, 'Version ' || version + step, body, default_params
          from notification_template_version, generate_series(1, 100) as step where template_id = $1
        ) update notification_template set revision = 101 where id = $1`,
        [id],
      );
      const input = { templateId: id, params: { full_name: 'Anna', total: 1 } };
      expect(await preview({ ...input, version: 1 })).toMatchObject({ subject: 'Hello Anna' });
      expect(await preview(input)).toMatchObject({ subject: 'Version 101' });
    });

    it('is refused with `not_found` for a version that does not exist, and for a template of another tenant', async () => {
      const { id } = await create();
      const stranger = await service.token({ tenant_id: 'tenant-other', permissions: ['notif.read.template'] });
      for (const [token, input] of [
        [admin, { templateId: id, version: 2 }],
        [admin, { templateId: 'nonsense', version: 1 }],
        [stranger, { templateId: id, version: 1 }],
      ] as const) {
        expect(await run(service.url, token, PreviewTemplateDocument, { input })).toMatchObject({
          status: 404,
          errors: [{ extensions: { error_code: 'not_found' } }],
        });
      }
      const other = await service.core.templates.findVersion('tenant-other', id, 1);
      expect([other, await service.core.templates.findVersion('tenant-other', 'nonsense', 1)]).toEqual([null, null]);
    });

    it('renders unsaved texts and reports where they are invalid', async () => {
      const texts = { channel: 'SMS' as const, body: 'Hi {{name}}{{#each items}}, {{name}}{{/each}}' };
      expect(await preview({ ...texts, params: { items: [{ name: 'a' }, {}] } })).toMatchObject({
        text: 'Hi «name», a, «items[].name»',
        missingVariables: ['items[].name', 'name'],
      });
      const wrong = await run(service.url, admin, PreviewTemplateDocument, { input: { ...texts, body: 'a\n{{#if}}' } });
      expect(wrong.errors).toMatchObject([
        { extensions: { error_code: 'validation_failed', fields: [{ path: 'input.body', line: 2, column: 1 }] } },
      ]);
    });
  });
});
