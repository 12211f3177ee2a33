import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { composeServices as apollo } from '@apollo/composition';
import { composeServices as hive } from '@theguild/federation-composition';
import { federateSubgraphs, ROUTER_COMPATIBILITY_VERSION_ONE } from '@wundergraph/composition';
import { type DocumentNode, Kind, parse } from 'graphql';
import { describe, expect, it } from 'vitest';

import { projectRoot } from '../../../src/project-root.ts';

/** Other subgraphs: one owns users, another refers to users and has its own pages. */
const OTHERS = {
  identity: `
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
    type Query { me: User }
    type User @key(fields: "id") { id: ID! name: String! }
    type PageInfo @shareable { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
  `,
  orders: `
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
    type Query { orders(first: Int): OrderConnection! }
    type OrderConnection { edges: [OrderEdge!]! pageInfo: PageInfo! }
    type OrderEdge { cursor: String! node: Order! }
    type Order @key(fields: "id") { id: ID! buyer: User! }
    type User @key(fields: "id", resolvable: false) { id: ID! }
    type PageInfo @shareable { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
  `,
};

const sdl = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
const subgraphs = Object.entries({ notification: sdl, ...OTHERS }).map(([name, text]) => ({
  name,
  url: `http://${name}/graphql`,
  typeDefs: parse(text),
}));

const withApollo = (): DocumentNode => {
  const { errors, hints, supergraphSdl } = apollo(subgraphs);
  expect(errors ?? []).toEqual([]);
  expect((hints ?? []).map((hint) => hint.toString())).toEqual([]);
  return parse(supergraphSdl as string);
};

const withHive = (): DocumentNode => {
  const { errors, supergraphSdl } = hive(subgraphs);
  expect(errors ?? []).toEqual([]);
  return parse(supergraphSdl as string);
};

const withWunderGraph = (): DocumentNode => {
  const result = federateSubgraphs({
    subgraphs: subgraphs.map(({ name, url, typeDefs }) => ({ name, url, definitions: typeDefs })),
    version: ROUTER_COMPATIBILITY_VERSION_ONE,
  });
  expect(result.success ? [] : result.errors.map(String)).toEqual([]);
  expect(result.warnings.map(String)).toEqual([]);
  return (result as Extract<typeof result, { success: true }>).federatedGraphAST;
};

describe.each([
  ['@apollo/composition', withApollo],
  ['@theguild/federation-composition', withHive],
  ['@wundergraph/composition', withWunderGraph],
])('composition with %s', (_name, compose) => {
  it('succeeds with a subgraph that owns users and one that refers to them', () => {
    const supergraph = compose();
    const fieldsOf = (name: string): string[] => {
      const type = supergraph.definitions.find(
        (definition) => definition.kind === Kind.OBJECT_TYPE_DEFINITION && definition.name.value === name,
      );
      return type?.kind === Kind.OBJECT_TYPE_DEFINITION ? (type.fields ?? []).map((field) => field.name.value) : [];
    };
    expect(fieldsOf('Subscription').toSorted()).toEqual([
      'inboxChanged',
      'notificationCreated',
      'notificationLogChanged',
      'sealedInboxChanged',
      'topicMessage',
    ]);
    expect(fieldsOf('User').toSorted()).toEqual(['id', 'name', 'notifications', 'unreadNotificationCount']);
    expect(fieldsOf('Query')).toEqual(expect.arrayContaining(['me', 'orders', 'notifications', 'notificationLogs']));
  });
});
