import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  getIntrospectionQuery,
  getNamedType,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
} from 'graphql';
import { exportSPKI } from 'jose';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { PERMISSION } from '../../../resolvers/server/requires.ts';
import { buildGraph } from '../../../resolvers/server/schema.ts';
import { PERMISSIONS } from '../../../src/identity/permissions.ts';
import {
  DeliveryLogDocument,
  DeliveryLogsDocument,
  InboxDocument,
  MarkNotificationReadDocument,
  NotificationDocument,
  TemplateDocument,
  TemplatesDocument,
  UnreadCountDocument,
} from '../../generated/operations.ts';
import { createSigner, type Signer } from '../../identity/issuer.ts';
import { liveClient, query, run } from '../../support/client.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';
import { postActivities, postWelcomes, settled } from '../../support/graph-seed.ts';
import { ask } from '../../support/graphql-socket.ts';

const TENANT = 'tenant-a';
const OTHER_TENANT = 'tenant-b';
const NOBODYS_ID = '01900000-0000-7000-8000-000000000000';

/** Returns a literal of the type. */
function sample(type: GraphQLInputType): string {
  if (isNonNullType(type)) return sample(type.ofType);
  if (isListType(type)) return `[${sample(type.ofType)}]`;
  if (isEnumType(type)) return String(type.getValues()[0]?.name);
  if (isInputObjectType(type)) {
    const required = Object.values(type.getFields()).filter((field) => isNonNullType(field.type));
    return `{${required.map((field) => `${field.name}: ${sample(field.type)}`).join(', ')}}`;
  }
  return (
    { DateTime: '"2026-01-01T00:00:00Z"', ID: `"${NOBODYS_ID}"`, Int: '1', Boolean: 'true', JSONObject: '{}' }[
      type.name
    ] ?? '"x"'
  );
}

/** Returns the shortest selection of a field. */
function selectionOf(field: GraphQLField<unknown, unknown>): string {
  const required = field.args.filter((argument) => isNonNullType(argument.type));
  const values = required.map((argument) => `${argument.name}: ${sample(argument.type)}`).join(', ');
  const fields = isLeafType(getNamedType(field.type)) ? '' : ' { __typename }';
  return `${field.name}${values === '' ? '' : `(${values})`}${fields}`;
}

const schema: GraphQLSchema = await buildGraph();
const rootFields = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].flatMap((root) =>
  Object.values(root?.getFields() ?? {})
    .filter((field) => !field.name.startsWith('_'))
    .map((field) => ({
      name: `${root?.name}.${field.name}`,
      operation: String(root?.name).toLowerCase(),
      selection: selectionOf(field),
      permission: field.extensions[PERMISSION] as string | null,
    })),
);
const guardedFields = rootFields.filter(({ permission }) => permission !== null);

const ENTITIES = `query Entities($representations: [_Any!]!) {
  entities: _entities(representations: $representations) {
    __typename
    ... on Notification { id title }
    ... on NotificationLog { id eventCode }
    ... on NotificationTemplate { id subject }
    ... on User { id }
  }
}`;

interface Entities {
  entities: (Record<string, unknown> | null)[];
}

describe('permissions', () => {
  let service: TestService;
  const tokens = new Map<string, Promise<string>>();
  /** Returns a token of a user with exactly these permissions. */
  const tokenOf = (permissions: readonly string[], tenant_id = TENANT, sub = 'anna'): Promise<string> => {
    const key = JSON.stringify([permissions, tenant_id, sub]);
    const token = tokens.get(key) ?? service.token({ tenant_id, sub, permissions: [...permissions] });
    tokens.set(key, token);
    return token;
  };
  const allBut = (permission: string | null): string[] => PERMISSIONS.filter((name) => name !== permission);

  let logId: string;
  let templateId: string;
  let notificationId: string;

  beforeAll(async () => {
    service = await startTestService();
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    const producer = await tokenOf(['notif.ingest']);
    const ids = [
      ...(await postWelcomes(service, producer, TENANT, [{}])),
      ...(await postActivities(service, producer, TENANT, ['anna'], ['for anna'])),
    ];
    await settled(service.databaseUrl, ids);
    logId = ids[0] as string;
    [templateId, notificationId] = (
      await sql<{ id: string }>(
        service.databaseUrl,
        `select id from notification_template union all select id from notification`,
      )
    ).map(({ id }) => id) as [string, string];
  });
  afterAll(() => service.close());

  const entities = async (token: string | undefined, representations: unknown[]) =>
    run<Entities, { representations: unknown[] }>(service.url, token, ENTITIES, { representations });

  describe.each(rootFields)('$name', ({ operation, selection }) => {
    it('is refused without a token', async () => {
      const { status, data, errors } = await run(service.url, undefined, `${operation} { ${selection} }`);
      expect({ status, data }).toEqual({ status: 401, data: undefined });
      expect(errors).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED', error_code: 'unauthenticated' } }]);
    });
  });

  describe.each(rootFields)('$name', ({ operation, selection }) => {
    it('is refused for another tenant, even with all permissions', async () => {
      const token = await tokenOf(PERMISSIONS, OTHER_TENANT);
      const headers = { 'x-tenant-id': TENANT };
      const { status, data, errors } = await run(service.url, token, `${operation} { ${selection} }`, {}, headers);
      expect({ status, data }).toEqual({ status: 403, data: undefined });
      expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN', error_code: 'tenant_mismatch' } }]);
    });
  });

  describe.each(guardedFields)('$name', ({ operation, selection, permission }) => {
    const denied = {
      extensions: {
        code: 'FORBIDDEN',
        error_code: 'permission_denied',
        required: permission,
        trace_id: expect.any(String),
      },
    };

    it.each([
      ['no permission', []],
      ['all permissions except the required one', allBut(permission)],
    ])(`is refused over HTTP with %s`, async (_case, permissions) => {
      const token = await tokenOf(permissions);
      const { status, data, errors } = await run(service.url, token, `${operation} { ${selection} }`);
      expect({ status, data }).toEqual({ status: 403, data: undefined });
      expect(errors).toMatchObject([denied]);
    });

    it('is refused over WebSocket without its permission', async () => {
      const live = liveClient(service.url, { token: await tokenOf(allBut(permission)) });
      const { refusal } = await ask(live.client, `${operation} { ${selection} }`);
      expect(refusal).toMatchObject([denied]);
      await live.close();
    });

    it('is allowed for a superadmin, with an audit event when the tenant is not their own', async () => {
      const foreign = `tenant-of-${permission}`;
      const root = await service.token({ tenant_id: 'tenant-home', sub: 'root', role: 'superadmin' });
      const text = `${operation} { ${selection} }`;
      const trace = `trace-${selection.split(/\W/)[0]}`;
      const headers = { 'x-tenant-id': foreign, 'x-trace-id': trace };
      const { errors } = await run(service.url, root, text, {}, headers);
      expect(errors.map(({ extensions }) => extensions?.['error_code'])).not.toContain('permission_denied');
      const trails = await sql(
        service.databaseUrl,
        `select actor_id, details from audit_event where tenant_id = $1 and trace_id = $2 and action = 'tenant.accessed'`,
        [foreign, trace],
      );
      expect(trails.slice(0, 1)).toEqual([
        {
          actor_id: 'root',
          details: { home_tenant_id: 'tenant-home', operation, fields: [selection.split(/\W/)[0]] },
        },
      ]);
    });

    it('needs no other permission', async () => {
      const { errors } = await run(service.url, await tokenOf([String(permission)]), `${operation} { ${selection} }`);
      expect(errors.map(({ extensions }) => extensions?.['error_code'])).not.toContain('permission_denied');
    });
  });

  it('cannot be bypassed with aliases, fragments and directives', async () => {
    const token = await tokenOf([]);
    const hidden = [
      'query { mine: notificationLogs { __typename } }',
      'query { ... { ... on Query { notificationLogs { __typename } } } }',
      'query { ...a } fragment a on Query { ...b } fragment b on Query { notificationLogs { __typename } }',
      'query { unreadNotificationCount notificationLogs @include(if: true) { __typename } }',
      'query Asked { notificationLogs { __typename } } query Other { unreadNotificationCount }',
    ];
    const live = liveClient(service.url, { token });
    for (const text of hidden) {
      const operationName = text.includes('Asked') ? 'Asked' : undefined;
      const response = await fetch(`${service.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query: text, operationName }),
      });
      const denied = { errors: [{ extensions: { error_code: 'permission_denied' } }] };
      expect({ status: response.status, ...((await response.json()) as object) }, text).toMatchObject({
        status: 403,
        ...denied,
      });
      expect((await ask(live.client, text, {}, operationName)).refusal, text).toMatchObject(denied.errors);
    }
    await live.close();
  });

  it('apply to nested fields: the template of a delivery record is null, and the other fields are returned', async () => {
    const { status, data, errors } = await run(service.url, await tokenOf(['notif.read.log']), DeliveryLogDocument, {
      id: logId,
    });
    expect(status).toBe(200);
    expect(data?.notificationLog).toMatchObject({ id: logId, template: null });
    expect(errors).toMatchObject([
      {
        path: ['notificationLog', 'template'],
        extensions: { error_code: 'permission_denied', required: 'notif.read.template' },
      },
    ]);
  });

  describe('for references of a gateway', () => {
    const references = () => [
      { __typename: 'Notification', id: notificationId },
      { __typename: 'NotificationLog', id: logId },
      { __typename: 'NotificationTemplate', id: templateId },
      { __typename: 'User', id: 'anna' },
    ];

    it('let a user with all permissions read every entity, in the order of the references', async () => {
      const { data, errors } = await entities(await tokenOf(PERMISSIONS), references());
      expect(errors).toEqual([]);
      expect(data?.entities).toEqual([
        { __typename: 'Notification', id: notificationId, title: 'for anna' },
        { __typename: 'NotificationLog', id: logId, eventCode: 'user.welcome' },
        { __typename: 'NotificationTemplate', id: templateId, subject: WELCOME_TEMPLATE.subject },
        { __typename: 'User', id: 'anna' },
      ]);
    });

    it('are checked for each type separately, and other entities are returned', async () => {
      const { status, data, errors } = await entities(await tokenOf([]), references());
      expect(status).toBe(200);
      expect(data?.entities.map((entity) => entity?.['__typename'] ?? null)).toEqual([
        'Notification',
        null,
        null,
        'User',
      ]);
      expect(errors).toMatchObject([
        { path: ['entities', 1], extensions: { error_code: 'permission_denied', required: 'notif.read.log' } },
        { path: ['entities', 2], extensions: { error_code: 'permission_denied', required: 'notif.read.template' } },
      ]);
    });

    it('need a token', async () => {
      for (const reference of references()) {
        const { status, data, errors } = await entities(undefined, [reference]);
        expect({ status, data }).toEqual({ status: 401, data: undefined });
        expect(errors).toMatchObject([{ extensions: { error_code: 'unauthenticated' } }]);
      }
    });

    it('do not extend to other tenants, whose entities do not exist', async () => {
      const token = await tokenOf(PERMISSIONS, OTHER_TENANT);
      const { data, errors } = await entities(token, references().slice(0, 3));
      expect({ data, errors }).toEqual({ data: { entities: [null, null, null] }, errors: [] });
    });

    it('do not extend to the inbox of another user of the tenant', async () => {
      const { data, errors } = await entities(await tokenOf(PERMISSIONS, TENANT, 'bình'), [references()[0]]);
      expect({ data, errors }).toEqual({ data: { entities: [null] }, errors: [] });
    });

    it.each([
      ['without an id', { __typename: 'Notification' }],
      ['with an invalid id', { __typename: 'NotificationLog', id: { $ne: null } }],
    ])('are not checked for a reference %s, which is invalid input', async (_what, reference) => {
      const { errors } = await entities(await tokenOf(PERMISSIONS), [reference]);
      expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed' } }]);
    });
  });

  describe('never extend to another tenant', () => {
    it('when a row is read by its id', async () => {
      const token = await tokenOf(PERMISSIONS, OTHER_TENANT);
      expect(await query(service.url, token, NotificationDocument, { id: notificationId })).toEqual({
        notification: null,
      });
      expect(await query(service.url, token, DeliveryLogDocument, { id: logId })).toEqual({ notificationLog: null });
      expect(await query(service.url, token, TemplateDocument, { id: templateId })).toEqual({
        notificationTemplate: null,
      });
    });

    it('when rows are listed', async () => {
      const token = await tokenOf(PERMISSIONS, OTHER_TENANT);
      expect((await query(service.url, token, InboxDocument, {})).notifications.edges).toEqual([]);
      expect((await query(service.url, token, DeliveryLogsDocument, {})).notificationLogs.edges).toEqual([]);
      expect((await query(service.url, token, TemplatesDocument, {})).notificationTemplates.edges).toEqual([]);
      expect(await query(service.url, token, UnreadCountDocument)).toEqual({ unreadNotificationCount: 0 });
    });

    it.each([
      ['another tenant', OTHER_TENANT, 'anna'],
      ['another user of the tenant', TENANT, 'bình'],
    ])('when rows are changed: for %s the notification is not found and stays unread', async (_what, tenant, sub) => {
      const token = await tokenOf(PERMISSIONS, tenant, sub);
      const { status, data, errors } = await run(service.url, token, MarkNotificationReadDocument, {
        id: notificationId,
      });
      expect({ status, data }).toEqual({ status: 404, data: null });
      expect(errors).toMatchObject([{ extensions: { code: 'NOT_FOUND', error_code: 'not_found' } }]);
      expect(await query(service.url, await tokenOf([]), UnreadCountDocument)).toEqual({ unreadNotificationCount: 1 });
    });
  });

  it('never extend to the inbox of another user of the tenant', async () => {
    const token = await tokenOf(PERMISSIONS, TENANT, 'bình');
    expect(await query(service.url, token, NotificationDocument, { id: notificationId })).toEqual({
      notification: null,
    });
    const inboxOf = (id: string) =>
      run<Entities, unknown>(
        service.url,
        token,
        `query Inbox($representations: [_Any!]!) {
          entities: _entities(representations: $representations) {
            ... on User { id unreadNotificationCount notifications { edges { node { id } } } }
          }
        }`,
        { representations: [{ __typename: 'User', id }] },
      );
    const own = await inboxOf('bình');
    expect(own.errors).toEqual([]);
    expect(own.data?.entities).toEqual([{ id: 'bình', unreadNotificationCount: 0, notifications: { edges: [] } }]);
    const foreign = await inboxOf('anna');
    expect(foreign.data?.entities).toEqual([null]);
    expect(foreign.errors[0]).toMatchObject({ extensions: { error_code: 'permission_denied' } });
  });

  describe('for the schema', () => {
    const SCHEMA_QUERIES = [
      { what: 'introspection', text: getIntrospectionQuery() },
      { what: 'one type', text: '{ __type(name: "Query") { name } }' },
      { what: 'the SDL', text: '{ _service { sdl } }' },
      { what: 'a fragment', text: 'query { ...f } fragment f on Query { s: __schema { queryType { name } } }' },
    ];

    it('are not needed in dev, nor is a token', async () => {
      for (const { text } of SCHEMA_QUERIES) {
        expect(await run(service.url, undefined, text), text).toMatchObject({ status: 200, errors: [] });
      }
      const mixed = await run(service.url, undefined, '{ __schema { queryType { name } } unreadNotificationCount }');
      expect(mixed).toMatchObject({ status: 401, data: undefined });
    });

    describe('outside dev', () => {
      let folder: string;
      let staging: TestService;
      let signer: Signer;
      beforeAll(async () => {
        folder = await mkdtemp(join(tmpdir(), 'notification-staging-'));
        signer = await createSigner('ES256', 'staging');
        const path = join(folder, 'public.pem');
        await writeFile(path, await exportSPKI(signer.publicKey));
        staging = await startTestService({
          ENVIRONMENT: 'staging',
          ROLES: 'api',
          REDIS_URL: inject('redisUrl'),
          JWT_PUBLIC_KEY_PATH: path,
          SERVICE_HOST: '127.0.0.1',
        });
      });
      afterAll(async () => {
        await staging.close();
        await rm(folder, { recursive: true, force: true });
      });

      it.each(SCHEMA_QUERIES)('include notif.read.schema, over HTTP and WebSocket: $what', async ({ text }) => {
        expect(await run(staging.url, undefined, text)).toMatchObject({ status: 401, data: undefined });
        const denied = [{ extensions: { error_code: 'permission_denied', required: 'notif.read.schema' } }];
        const user = await signer.sign({ permissions: allBut('notif.read.schema') });
        expect(await run(staging.url, user, text)).toMatchObject({ status: 403, data: undefined, errors: denied });
        const gateway = await signer.sign({ permissions: ['notif.read.schema'] });
        expect(await run(staging.url, gateway, text)).toMatchObject({ status: 200, errors: [] });

        const closed = liveClient(staging.url, { token: user });
        expect((await ask(closed.client, text)).refusal).toMatchObject(denied);
        await closed.close();
        const open = liveClient(staging.url, { token: gateway });
        expect((await ask(open.client, text)).result).toMatchObject({ data: expect.any(Object) });
        await open.close();
      });

      it('are needed for suggestions in errors', async () => {
        const token = await signer.sign();
        const text = '{ notificatons { __typename } }';
        const { status, errors } = await run(staging.url, token, text);
        expect(status).toBe(400);
        expect(errors[0]?.message).toBe('Cannot query field "notificatons" on type "Query".');
        const live = liveClient(staging.url, { token });
        expect((await ask(live.client, text)).refusal?.[0]?.message).toBe(errors[0]?.message);
        await live.close();
        expect((await run(service.url, await tokenOf([]), text)).errors[0]?.message).toContain('Did you mean');
      });

      it('are not needed for the operations of users', async () => {
        const { status, data } = await run(staging.url, await signer.sign(), UnreadCountDocument);
        expect({ status, data }).toEqual({ status: 200, data: { unreadNotificationCount: 0 } });
      });
    });
  });
});
