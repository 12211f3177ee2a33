import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { TemplateText } from '../../../src/templates/templates.ts';
import { TemplateDocument, TemplatesDocument, type TemplatesQueryVariables } from '../../generated/operations.ts';
import { query, run } from '../../support/client.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../../support/service.ts';
import { allPages, FOREIGN_CURSORS, nodesOf } from '../../support/graphql-pages.ts';

const TENANT = 'tenant-templates';

const text = (changes: Partial<TemplateText>): TemplateText => ({ ...WELCOME_TEMPLATE, ...changes });

describe('templates', () => {
  let service: TestService;
  let admin: string;

  beforeAll(async () => {
    service = await startTestService();
    admin = await service.token({ tenant_id: TENANT, permissions: ['notif.read.template'] });
    const many = Array.from({ length: 21 }, (_unused, index) => text({ eventCode: `many.${index}` }));
    await service.core.templates.publish(TENANT, many, null);
    await service.core.templates.publish(
      TENANT,
      [
        text({ eventCode: 'user.welcome', defaultParams: { full_name: 'you' } }),
        text({ eventCode: 'user.welcome', locale: 'en', subject: 'Welcome' }),
        text({ eventCode: 'user.welcome', locale: 'en', channel: 'sms', subject: null, body: 'Welcome' }),
        text({ eventCode: 'user.goodbye', locale: 'en' }),
      ],
      'admin-1',
    );
    await service.core.templates.publish('tenant-other', [text({ eventCode: 'only.other' })], null);
  });
  afterAll(() => service.close());

  const list = async (variables: TemplatesQueryVariables = {}) =>
    (await query(service.url, admin, TemplatesDocument, variables)).notificationTemplates;
  const keys = async (filter: TemplatesQueryVariables['filter']) =>
    (await list({ first: 100, filter })).edges
      .map(({ node }) => `${node.eventCode} ${node.channel} ${node.locale}`)
      .toSorted();

  it.each([4, 25, 100])('are returned completely in pages of %i, each template once', async (first) => {
    const pages = await allPages((after) => list({ first, after }));
    const codes = nodesOf(pages).map(({ eventCode }) => eventCode);
    expect(pages).toHaveLength(Math.ceil(25 / first));
    expect(codes).toHaveLength(25);
    expect(new Set(nodesOf(pages).map(({ id }) => id)).size).toBe(25);
    expect(codes).not.toContain('only.other');
    expect(new Set(codes.slice(0, 4))).toEqual(new Set(['user.welcome', 'user.goodbye']));
  });

  it('have the fields of the published version, in the list and by id', async () => {
    const [edge] = (await list({ filter: { eventCode: 'user.welcome', locale: 'vi' } })).edges;
    const { notificationTemplate } = await query(service.url, admin, TemplateDocument, { id: edge?.node.id as string });
    expect(notificationTemplate).toEqual(edge?.node);
    expect(notificationTemplate).toEqual({
      id: expect.any(String),
      eventCode: 'user.welcome',
      channel: 'EMAIL',
      locale: 'vi',
      subject: WELCOME_TEMPLATE.subject,
      body: WELCOME_TEMPLATE.body,
      defaultParams: { full_name: 'you' },
      isActive: true,
      version: 1,
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      updatedBy: 'admin-1',
    });
  });

  it('have the fields of a new version as soon as it is published', async () => {
    const changing = text({ eventCode: 'changing', locale: 'fr' });
    await service.core.templates.publish('tenant-changing', [changing], 'one');
    await service.core.templates.publish('tenant-changing', [{ ...changing, body: 'new' }], 'two');
    const token = await service.token({ tenant_id: 'tenant-changing', permissions: ['notif.read.template'] });
    const { notificationTemplates } = await query(service.url, token, TemplatesDocument, {});
    expect(notificationTemplates.edges.map(({ node }) => node)).toMatchObject([
      { body: 'new', version: 2, updatedBy: 'two' },
    ]);
  });

  it('can be filtered by event, channel, language and state in combination', async () => {
    expect(await keys({ eventCode: 'user.welcome' })).toEqual([
      'user.welcome EMAIL en',
      'user.welcome EMAIL vi',
      'user.welcome SMS en',
    ]);
    expect(await keys({ channels: ['SMS'] })).toEqual(['user.welcome SMS en']);
    expect(await keys({ locale: 'en', channels: ['EMAIL'] })).toEqual([
      'user.goodbye EMAIL en',
      'user.welcome EMAIL en',
    ]);
    expect(await keys({ eventCode: 'user.welcome', channels: ['SMS', 'EMAIL'], locale: 'vi' })).toEqual([
      'user.welcome EMAIL vi',
    ]);
    expect(await keys({ isActive: false })).toEqual([]);
    expect(await keys({ isActive: true })).toHaveLength(25);
  });

  it.each([
    ...[0, -1, 101].map((first) => ({ what: `a page of ${first}`, path: 'first', variables: { first } })),
    ...FOREIGN_CURSORS.map((after) => ({ what: `the cursor ${after}`, path: 'after', variables: { after } })),
  ])('refuse $what', async ({ path, variables }) => {
    const { status, errors } = await run(service.url, admin, TemplatesDocument, variables);
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
  });

  it('are null when they do not exist', async () => {
    for (const id of ['x', '00000000-0000-0000-0000-000000000000']) {
      expect(await query(service.url, admin, TemplateDocument, { id })).toEqual({ notificationTemplate: null });
    }
  });
});
