import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  type ConstDirectiveNode,
  getNamedType,
  getNullableType,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isListType,
  isObjectType,
  isSpecifiedScalarType,
  isUnionType,
  Kind,
  parse,
  valueFromASTUntyped,
} from 'graphql';
import { beforeAll, describe, expect, it } from 'vitest';

import { PERMISSION } from '../../../resolvers/server/requires.ts';
import { buildGraph, printGraph } from '../../../resolvers/server/schema.ts';
import { PERMISSIONS } from '../../../src/identity/permissions.ts';
import { projectRoot } from '../../../src/project-root.ts';
import { printPermissionMatrix } from '../../../tools/permission-matrix.ts';

const ROOTS = ['Query', 'Mutation', 'Subscription'];
/** Types and directives of federation, which are described elsewhere. */
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

  it('is committed (update with `npm run schema`)', async () => {
    const committed = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
    expect(committed === sdl, 'schema/subgraph.graphql is stale: run `npm run schema`').toBe(true);
  });

  it('is documented in the table of permissions (update with `npm run schema`)', async () => {
    const committed = await readFile(join(projectRoot, 'docs', 'permissions.md'), 'utf8');
    expect(committed === printPermissionMatrix(schema)).toBe(true);
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

  it('declares the permission of every root field as a directive and as an extension', () => {
    const directives = new Map<string, readonly ConstDirectiveNode[]>();
    for (const definition of parse(sdl).definitions) {
      if (definition.kind !== Kind.OBJECT_TYPE_DEFINITION) continue;
      for (const field of definition.fields ?? []) {
        directives.set(`${definition.name.value}.${field.name.value}`, field.directives ?? []);
      }
    }
    const said = (place: string): unknown => {
      const found = (directives.get(place) ?? [])
        .filter(({ name }) => ['authenticated', 'requiresScopes'].includes(name.value))
        .map(({ name, arguments: [scopes] = [] }) =>
          name.value === 'authenticated' ? null : scopes && valueFromASTUntyped(scopes.value),
        );
      return found.length === 1 ? found[0] : found;
    };
    const tags = (place: string): unknown[] =>
      (directives.get(place) ?? [])
        .filter(({ name }) => name.value === 'tag')
        .map(({ arguments: [name] = [] }) => name && valueFromASTUntyped(name.value));
    expect(rootFields().length).toBeGreaterThanOrEqual(11);
    for (const { root, field } of rootFields()) {
      const place = `${root}.${field.name}`;
      const permission = field.extensions[PERMISSION];
      expect(permission, `${place} declares no permission: use @Requires or @SignedIn`).not.toBeUndefined();
      expect([null, ...PERMISSIONS], place).toContain(permission);
      expect(said(place), place).toEqual(permission === null ? null : [[permission]]);
      expect(tags(place), place).toEqual([permission === null ? 'inbox' : 'admin']);
    }
  });

  it('declares the length of every list and the cost of every mutation', () => {
    const unsized: string[] = [];
    const has = (field: GraphQLField<unknown, unknown>, name: string): boolean =>
      (field.astNode?.directives ?? []).some((directive) => directive.name.value === name);
    for (const type of ownTypes().filter(isObjectType)) {
      for (const field of Object.values(type.getFields()).filter(({ name }) => !isForeign(name))) {
        const place = `${type.name}.${field.name}`;
        const isList = isListType(getNullableType(field.type));
        const isPage = getNamedType(field.type).name.endsWith('Connection');
        // For a connection, the length of `edges` is declared on the field that returns it.
        const isEdges = field.name === 'edges' && type.name.endsWith('Connection');
        const isOfObjects = isObjectType(getNamedType(field.type));
        if ((isPage || (isList && isOfObjects && !isEdges)) && !has(field, 'listSize')) unsized.push(place);
        if (type.name === 'Mutation' && !has(field, 'cost')) unsized.push(place);
      }
    }
    expect(unsized).toEqual([]);
  });

  it('has a key on each entity and resolves no other type by reference', () => {
    const entities = [...sdl.matchAll(/^type (\w+) @key\(fields: "id"\)/gm)].map((match) => match[1]);
    expect(entities.toSorted()).toEqual(['Notification', 'NotificationLog', 'NotificationTemplate', 'User']);
    const union = schema.getType('_Entity');
    expect(isUnionType(union) && union.getTypes().map(({ name }) => name)).toEqual(entities.toSorted());
  });
});
