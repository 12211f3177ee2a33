import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { PERMISSIONS } from '../../../src/identity/permissions.ts';
import { liveClient, run } from '../../support/client.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { ask } from '../../support/graphql-socket.ts';

const times = (count: number, one: (index: number) => string): string =>
  Array.from({ length: count }, (_unused, index) => one(index)).join(' ');

/** Nests pages: for each notification a page of the user's inbox, and so on. */
const nested = (levels: number): string =>
  levels === 0 ? 'id' : `notifications(first: 100) { edges { node { actor { ${nested(levels - 1)} } } } }`;
const representations = (count: number, inner = ''): { text: string; variables: Record<string, unknown> } => ({
  text: `query ($list: [_Any!]!) { _entities(representations: $list) { __typename ${inner} } }`,
  variables: { list: Array.from({ length: count }, (_unused, index) => ({ __typename: 'User', id: `user-${index}` })) },
});

interface Attack {
  what: string;
  text: string;
  variables?: Record<string, unknown>;
  code?: string;
}

const COMPLEX = 'query_too_complex';
const ATTACKS: Attack[] = [
  { what: 'a document 17 levels deep', text: `{ ${times(16, () => 'a {')} b ${'}'.repeat(17)}`, code: COMPLEX },
  { what: 'a document 600 levels deep', text: `{ ${times(600, () => 'a {')} b ${'}'.repeat(601)}`, code: COMPLEX },
  {
    what: 'a document that is too deep through fragments',
    text: `{ ...f0 } ${times(20, (n) => `fragment f${n} on Query { a { ...f${n + 1} } }`)} fragment f20 on Query { b }`,
    code: COMPLEX,
  },
  { what: '31 aliases', text: `{ ${times(31, (n) => `a${n}: unreadNotificationCount`)} }`, code: COMPLEX },
  { what: '31 aliases of __typename', text: `{ ${times(31, (n) => `a${n}: __typename`)} }`, code: COMPLEX },
  { what: '501 times the same field', text: `{ ${times(501, () => '__typename')} }`, code: COMPLEX },
  { what: '51 directives', text: `{ __typename ${times(51, () => '@include(if: true)')} }`, code: COMPLEX },
  { what: '51 directives that do not exist', text: `{ __typename ${times(51, (n) => `@d${n}`)} }`, code: COMPLEX },
  { what: 'directives on the operation', text: `query ${times(51, () => '@a')} { __typename }`, code: COMPLEX },
  {
    what: 'fragments that double each other',
    text: `{ ...f0 } ${times(60, (n) => `fragment f${n} on Query { ...f${n + 1} ...f${n + 1} }`)} fragment f60 on Query { __typename }`,
    code: COMPLEX,
  },
  {
    what: 'fragments that contain the next one twice',
    text: `{ ...f0 } ${times(30, (n) => `fragment f${n} on User { a: actor { ...f${n + 1} } b: actor { ...f${n + 1} } }`)} fragment f30 on User { id }`,
    code: COMPLEX,
  },
  { what: 'a fragment that contains itself', text: '{ ...f } fragment f on Query { ...f }', code: 'validation_failed' },
  {
    what: 'fragments that contain each other',
    text: '{ ...f } fragment f on Query { __typename ...g } fragment g on Query { __typename ...f }',
    code: 'validation_failed',
  },
  { what: '2001 tokens', text: `{ ${times(1_999, () => 'a')} }`, code: 'validation_failed' },
  { what: 'an integer of 900 000 digits', text: `{ notifications(first: ${'9'.repeat(900_000)}) { __typename } }` },
  { what: 'nested pages', text: `{ ${nested(2)} }`, code: COMPLEX },
  {
    what: 'nested pages whose length is a variable',
    text: `query ($n: Int) { ${nested(2).replaceAll('100', '$n')} }`,
    variables: { n: 100 },
    code: COMPLEX,
  },
  {
    what: 'nested pages whose length is a default value',
    text: `query ($n: Int = 100) { ${nested(2).replaceAll('100', '$n')} }`,
    code: COMPLEX,
  },
  { what: '1001 references', ...representations(1_001), code: COMPLEX },
  {
    what: 'a page of 100 for each of 100 references',
    ...representations(100, '... on User { notifications(first: 100) { edges { node { id } } } }'),
    code: COMPLEX,
  },
  {
    what: 'a list of 10 001 items',
    text: 'query ($filter: NotificationFilter) { notifications(filter: $filter) { __typename } }',
    variables: { filter: { types: Array.from({ length: 10_001 }, () => 'a') } },
    code: COMPLEX,
  },
  {
    what: 'a list of 101 conditions',
    text: 'query ($filter: NotificationFilter) { notifications(filter: $filter) { __typename } }',
    variables: { filter: { types: Array.from({ length: 101 }, () => 'a') } },
    code: 'validation_failed',
  },
  {
    what: 'params 1 000 levels deep',
    text: 'mutation ($input: SendTestNotificationInput!) { sendTestNotification(input: $input) { id } }',
    variables: {
      input: {
        eventCode: 'a',
        channel: 'EMAIL',
        recipient: 'a@b.test',
        params: JSON.parse(`${'{"a":'.repeat(1_000)}1${'}'.repeat(1_000)}`) as unknown,
      },
    },
    code: COMPLEX,
  },
  {
    what: 'nested introspection',
    text: `{ __schema { types { ${times(3, () => 'fields { type {')} name ${'}}'.repeat(3)} } } }`,
    code: 'validation_failed',
  },
  { what: 'a page of 101', text: '{ notifications(first: 101) { __typename } }', code: 'validation_failed' },
  { what: 'a page size below 1', text: '{ notifications(last: 0) { __typename } }', code: 'validation_failed' },
  {
    what: 'a NUL in an argument',
    text: '{ notification(id: "a\\u0000b") { id } notificationLogs(filter: { eventCode: "a\\u0000" }) { __typename } }',
  },
];

describe('an operation', () => {
  let service: TestService;
  let token: string;
  beforeAll(async () => {
    service = await startTestService();
    token = await service.token({ tenant_id: 'tenant-limits', sub: 'anna', permissions: [...PERMISSIONS] });
  });
  afterAll(() => service.close());

  it.each(ATTACKS)('with $what is refused, over HTTP and WebSocket', async ({ text, variables, code }) => {
    const { status, errors } = await run(service.url, token, text, variables);
    const expected = [{ extensions: { error_code: code ?? 'validation_failed' } }];
    expect(errors.slice(0, 1)).toMatchObject(expected);
    expect(status).toBe(400);

    const live = liveClient(service.url, { token });
    const answer = await ask(live.client, text, variables);
    expect((answer.refusal ?? answer.result?.errors)?.slice(0, 1)).toMatchObject(expected);
    await live.close();
  });

  it.each([
    [
      'with the depth of GraphiQL introspection',
      getIntrospectionQuery({ inputValueDeprecation: true, specifiedByUrl: true }),
    ],
    ['with 30 aliases', `{ ${times(30, (n) => `a${n}: unreadNotificationCount`)} }`],
    ['with 500 fields', `{ ${times(499, () => '__typename')} unreadNotificationCount }`],
    ['with a page of 100', '{ notifications(first: 100) { edges { node { id actor { id } } } } }'],
    ['with a filter that matches no row', '{ notificationLogs(filter: { eventCode: "a" }) { __typename } }'],
  ])('%s is executed', async (_what, text) => {
    expect(await run(service.url, token, text)).toMatchObject({ status: 200, errors: [] });
  });

  it('is refused with its cost and the limit', async () => {
    const { errors } = await run(service.url, token, `{ ${nested(2)} }`);
    expect(errors).toMatchObject([{ extensions: { cost: expect.any(Number), limit: 5_000 } }]);
    expect(errors[0]?.extensions?.['cost']).toBeGreaterThan(5_000);
  });

  it('is accepted by the actual values of its variables, not by their maximum', async () => {
    const text = `query ($n: Int!) { ${nested(2).replaceAll('100', '$n')} }`;
    expect((await run(service.url, token, text, { n: 100 })).errors).toMatchObject([
      { extensions: { error_code: 'query_too_complex' } },
    ]);
    expect(await run(service.url, token, text, { n: 3 })).toMatchObject({ status: 200, errors: [] });
  });
});
