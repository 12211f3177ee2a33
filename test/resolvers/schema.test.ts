import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { composeServices } from '@apollo/composition';
import {
  type ConstDirectiveNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isObjectType,
  isSpecifiedScalarType,
  isUnionType,
  Kind,
  parse,
  valueFromASTUntyped,
} from 'graphql';
import { beforeAll, describe, expect, it } from 'vitest';

import { PERMISSION } from '../../resolvers/requires.ts';
import { buildGraph, printGraph } from '../../resolvers/schema.ts';
import { PERMISSIONS } from '../../src/identity/permissions.ts';
import { projectRoot } from '../../src/project-root.ts';

const ROOTS = ['Query', 'Mutation', 'Subscription'];
/** What federation brings along is described elsewhere. */
const isForeign = (name: string): boolean => /^(__|_[A-Z]|_entities$|_service$|federation__|link__)/.test(name);

describe('the schema', () => {
  let schema: GraphQLSchema;
  let sdl: string;
  beforeAll(async () => {
    schema = await buildGraph();
    sdl = printGraph(schema);
  });

  const ownTypes = (): GraphQLNamedType[] =>
    Object.values(schema.getTypeMap()).filter((type) => !isForeign(type.name) && !isSpecifiedScalarType(type));
  const rootFields = () =>
    ROOTS.flatMap((root) => {
      const type = schema.getType(root);
      return isObjectType(type) ? Object.values(type.getFields()).map((field) => ({ root, field })) : [];
    }).filter(({ field }) => !isForeign(field.name));

  it('is committed as it is: otherwise run `npm run schema`', async () => {
    const committed = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
    expect(committed === sdl, 'schema/subgraph.graphql is stale: run `npm run schema`').toBe(true);
  });

  it('composes with the subgraph that owns users, subscriptions included', () => {
    const identity = `
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
      type Query { me: User }
      type User @key(fields: "id") { id: ID! name: String! }
      type PageInfo @shareable { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
    `;
    const { errors, hints, supergraphSdl } = composeServices([
      { name: 'notification', url: 'http://notification/graphql', typeDefs: parse(sdl) },
      { name: 'identity', url: 'http://identity/graphql', typeDefs: parse(identity) },
    ]);
    expect(errors ?? []).toEqual([]);
    expect((hints ?? []).map((hint) => hint.toString())).toEqual([]);

    const fieldsOf = (name: string): string[] => {
      const type = parse(supergraphSdl as string).definitions.find(
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
    expect(fieldsOf('Query')).toEqual(expect.arrayContaining(['me', 'notifications', 'notificationLogs']));
  });

  it('describes every type, field, argument, enum value and input field', () => {
    const silent: string[] = [];
    const note = (place: string, item: { description?: string | null | undefined }): void => {
      if (!item.description?.trim()) silent.push(place);
    };
    for (const type of ownTypes()) {
      if (!ROOTS.includes(type.name)) note(type.name, type);
      if (isEnumType(type)) for (const value of type.getValues()) note(`${type.name}.${value.name}`, value);
      if (isInputObjectType(type)) {
        for (const field of Object.values(type.getFields())) note(`${type.name}.${field.name}`, field);
      }
      if (isObjectType(type)) {
        for (const field of Object.values(type.getFields()).filter(({ name }) => !isForeign(name))) {
          note(`${type.name}.${field.name}`, field);
          for (const argument of field.args) note(`${type.name}.${field.name}(${argument.name})`, argument);
        }
      }
    }
    expect(ownTypes().length).toBeGreaterThan(15);
    expect(silent).toEqual([]);
  });

  it('says of every root field who may use it, to gateways in the same way as to our own code', () => {
    const directives = new Map<string, readonly ConstDirectiveNode[]>();
    for (const definition of parse(sdl).definitions) {
      if (definition.kind !== Kind.OBJECT_TYPE_DEFINITION) continue;
      for (const field of definition.fields ?? []) {
        directives.set(`${definition.name.value}.${field.name.value}`, field.directives ?? []);
      }
    }
    const said = (place: string): unknown => {
      const found = (directives.get(place) ?? []).map(({ name, arguments: [scopes] = [] }) =>
        name.value === 'authenticated' ? null : scopes && valueFromASTUntyped(scopes.value),
      );
      return found.length === 1 ? found[0] : found;
    };
    expect(rootFields().length).toBeGreaterThanOrEqual(11);
    for (const { root, field } of rootFields()) {
      const place = `${root}.${field.name}`;
      const permission = field.extensions[PERMISSION];
      expect(permission, `${place} declares no permission: use @Requires or @SignedIn`).not.toBeUndefined();
      expect([null, ...PERMISSIONS], place).toContain(permission);
      expect(said(place), place).toEqual(permission === null ? null : [[permission]]);
    }
  });

  it('has a key on each entity, and resolves no other type by reference', () => {
    const entities = [...sdl.matchAll(/^type (\w+) @key\(fields: "id"\)/gm)].map((match) => match[1]);
    expect(entities.toSorted()).toEqual(['Notification', 'NotificationLog', 'NotificationTemplate', 'User']);
    const union = schema.getType('_Entity');
    expect(isUnionType(union) && union.getTypes().map(({ name }) => name)).toEqual(entities.toSorted());
  });
});
