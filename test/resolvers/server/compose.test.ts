import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Kind, parse } from 'graphql';
import { describe, expect, it } from 'vitest';

import { projectRoot } from '../../../src/project-root.ts';
import { loadComposers } from '../../support/peers.ts';

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

const { composers } = await loadComposers();

describe.each(Object.entries(composers))('composition with %s', (_name, compose) => {
  it('succeeds with a subgraph that owns users and one that refers to them', () => {
    const { problems, supergraph } = compose(subgraphs);
    expect(problems).toEqual([]);
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
