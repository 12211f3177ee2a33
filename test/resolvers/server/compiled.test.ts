import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ApolloServer } from '@apollo/server';
import { Kind, parse, print } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createContext, type GraphContext } from '../../../resolvers/server/context.ts';
import { compiledPlugin } from '../../../resolvers/server/plugins/compiled.ts';
import { buildGraph } from '../../../resolvers/server/schema.ts';
import type { Actor } from '../../../src/identity/actor.ts';
import { newId } from '../../../src/ids.ts';
import { projectRoot } from '../../../src/project-root.ts';
import { postActivities, postWelcomes, settled } from '../../support/graph-seed.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';

const TENANT = 'tenant-compiled';
const USER = 'anna';

/** The saved queries, each with the fragments of its file. */
const queries = readdirSync(join(projectRoot, 'schema/operations'))
  .filter((file) => file.endsWith('.graphql'))
  .flatMap((file) => {
    const { definitions } = parse(readFileSync(join(projectRoot, 'schema/operations', file), 'utf8'));
    const fragments = definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION);
    return definitions.flatMap((operation) =>
      operation.kind === Kind.OPERATION_DEFINITION && operation.operation === 'query'
        ? [{ name: operation.name?.value ?? '', operation, fragments }]
        : [],
    );
  });

describe('a compiled query', () => {
  let service: TestService;
  let compiled: ApolloServer<GraphContext>;
  let plain: ApolloServer<GraphContext>;
  let executions = 0;
  let ids: Record<'log' | 'notification' | 'template', string>;
  beforeAll(async () => {
    service = await startTestService();
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE, { ...WELCOME_TEMPLATE, locale: 'en' }], null);
    const token = await service.token({ tenant_id: TENANT, sub: 'producer', permissions: ['notif.ingest'] });
    const logs = [
      ...(await postActivities(service, token, TENANT, [USER], ['one', 'hai', '"three"\n🎉'])),
      ...(await postWelcomes(service, token, TENANT, [{}, { channel: 'sms', recipient: '+84912345678' }])),
    ];
    await settled(service.databaseUrl, logs);
    const idIn = async (table: string): Promise<string> =>
      (
        await sql<{ id: string }>(service.databaseUrl, `select id from ${table} where tenant_id = $1 limit 1`, [TENANT])
      )[0]?.id ?? '';
    ids = {
      log: await idIn('notification_log'),
      notification: await idIn('notification'),
      template: await idIn('notification_template'),
    };
    const schema = await buildGraph(service.core);
    const countExecutions = {
      requestDidStart: async () => ({ executionDidStart: async () => void (executions += 1) }),
    };
    plain = new ApolloServer<GraphContext>({ schema });
    const plugins = [compiledPlugin(schema, { minUses: 0, minPauseMs: 0 }), countExecutions];
    compiled = new ApolloServer<GraphContext>({ schema, plugins });
  });
  afterAll(() => service.close());

  const actor = (changes: Partial<Actor> = {}): Actor => ({
    tenantId: TENANT,
    userId: USER,
    permissions: new Set(
      'read.log read.template read.audit write.config write.template replay read.schema'
        .split(' ')
        .map((name) => `notif.${name}`),
    ),
    isSuperadmin: false,
    homeTenantId: TENANT,
    issuedAt: undefined,
    expiresAt: new Date(Date.now() + 3_600_000),
    tokenId: undefined,
    ...changes,
  });
  const run = async (
    server: ApolloServer<GraphContext>,
    query: string,
    variables: Record<string, unknown>,
    who = actor(),
  ) => {
    const { body } = await server.executeOperation(
      { query, variables },
      { contextValue: createContext(service.core, who, newId()) },
    );
    if (body.kind !== 'single') throw new Error('the result is incremental');
    return JSON.parse(JSON.stringify(body.singleResult)) as { data?: unknown; errors?: { message: string }[] };
  };
  const variablesOf = (name: string): Record<string, unknown> => {
    const { log, notification, template } = ids;
    const byName: Record<string, Record<string, unknown>> = {
      DeliveryLog: { id: log },
      Notification: { id: notification },
      Template: { id: template },
      TemplateHistory: { id: template },
      PreviewTemplate: { input: { templateId: template, params: { full_name: 'Anna', first_login_at: 'today' } } },
      Erasure: { id: newId() },
      Statistics: { from: '2026-01-01T00:00:00Z', to: '2026-03-01T00:00:00Z', groupBy: ['STATUS'] },
      InboxBackwards: { last: 2 },
      ExplainDelivery: {
        input: { eventCode: 'user.welcome', channels: ['EMAIL'], recipient: { email: 'anna@example.com' }, params: {} },
      },
    };
    return byName[name] ?? {};
  };

  it.each(queries)('answers the saved query $name as graphql-js does', async ({ name, operation, fragments }) => {
    const used = (text: string): string[] =>
      [...text.matchAll(/\.\.\.\s*([A-Z]\w*)/g)].map((match) => match[1] as string);
    const all = new Set<string>();
    const add = (text: string): void => {
      for (const fragment of used(text)) {
        if (all.has(fragment)) continue;
        all.add(fragment);
        const found = fragments.find((one) => one.kind === Kind.FRAGMENT_DEFINITION && one.name.value === fragment);
        if (found) add(print(found));
      }
    };
    add(print(operation));
    const parts = fragments.filter((one) => one.kind === Kind.FRAGMENT_DEFINITION && all.has(one.name.value));
    const query = [operation, ...parts].map(print).join('\n');
    const expected = await run(plain, query, variablesOf(name));
    executions = 0;
    for (let time = 0; time < 2; time += 1) expect(await run(compiled, query, variablesOf(name))).toEqual(expected);
    // A query with errors is executed again, both times.
    expect(executions).toBe(expected.errors ? 2 : 0);
  });

  it('answers aliases, nested fragments, enums and defaults as graphql-js does', async () => {
    const query = `query ($first: Int = 2, $status: [NotificationStatus!] = [SENT, FAILED]) {
      a: notificationLogs(first: $first, filter: {statuses: $status}) { ...Page }
      b: notificationLogs(first: 1) { ...Page pageInfo { hasNextPage endCursor } }
      __typename
    }
    fragment Page on NotificationLogConnection { edges { cursor node { ...Log template { id versions { version } } } } }
    fragment Log on NotificationLog { id status channel recipient createdAt attempts { number outcome } __typename }`;
    const expected = await run(plain, query, {});
    expect(expected.errors).toEqual(undefined);
    executions = 0;
    expect(await run(compiled, query, {})).toEqual(expected);
    expect(await run(compiled, query, { first: 1, status: ['SENT'] })).toEqual(
      await run(plain, query, { first: 1, status: ['SENT'] }),
    );
    expect(executions).toBe(0);
  });

  it('leaves errors, directives and mutations to Apollo Server', async () => {
    const failing = 'query ($id: ID!) { notificationTemplate(id: $id) { id } unreadNotificationCount }';
    const stranger = actor({ permissions: new Set() });
    const failingRun = (server: ApolloServer<GraphContext>) => run(server, failing, { id: ids.template }, stranger);
    expect(await failingRun(compiled)).toEqual(await failingRun(plain));
    const invalid = 'query ($first: Int!) { notifications(first: $first) { edges { cursor } } }';
    expect(await run(compiled, invalid, { first: 'x' })).toEqual(await run(plain, invalid, { first: 'x' }));
    executions = 0;
    const included =
      'query ($all: Boolean!) { unreadNotificationCount notifications @include(if: $all) { liveCursor } }';
    for (const all of [true, false]) {
      expect(await run(compiled, included, { all })).toEqual(await run(plain, included, { all }));
    }
    await run(compiled, 'mutation { markAllNotificationsRead }', {});
    expect(executions).toBe(3);
  });
});
