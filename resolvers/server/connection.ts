import { ArgsType, type ClassType, Directive, Field, Int, ObjectType } from 'type-graphql';

import type { CursorKind, Page } from '../../src/paging/page.ts';

@Directive('@shareable')
@ObjectType({ description: 'Where a page lies in its list (Relay).' })
export class PageInfo {
  @Field(() => Boolean, { description: 'There is more after this page.' })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: 'There is more before this page.' })
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: 'Cursor of the first edge; null on an empty page.' })
  startCursor!: string | null;

  @Field(() => String, { nullable: true, description: 'Cursor of the last edge; null on an empty page.' })
  endCursor!: string | null;
}

/** Which part of a list: forward from its newest item, or back from its oldest. */
@ArgsType()
export class PageArgs {
  @Field(() => Int, { nullable: true, defaultValue: 20, description: 'How many, from the newest; 1 to 100.' })
  first?: number | null;

  @Field(() => String, { nullable: true, description: 'Only those after this cursor (older ones).' })
  after?: string | null;

  @Field(() => Int, { nullable: true, description: 'How many, from the oldest; 1 to 100.' })
  last?: number | null;

  @Field(() => String, { nullable: true, description: 'Only those before this cursor (newer ones).' })
  before?: string | null;
}

/** Says how long the part is that these arguments ask for: see `limits.ts`. */
export const Paged = (): MethodDecorator =>
  Directive(
    '@listSize(slicingArguments: ["first", "last"], sizedFields: ["edges"], requireOneSlicingArgument: false)',
  ) as MethodDecorator;

export interface Edge<Node> {
  node: Node;
  cursor: string;
}

export interface Connection<Node> {
  edges: Edge<Node>[];
  pageInfo: PageInfo;
}

/** The Relay connection type of a node type: `<Name>Connection` and `<Name>Edge`. */
export function connectionOf<Node extends object>(name: string, node: ClassType<Node>): ClassType<Connection<Node>> {
  @ObjectType(`${name}Edge`, { description: `A ${name} and its place in the list.` })
  class EdgeType implements Edge<Node> {
    @Field(() => node, { description: 'The item.' })
    node!: Node;

    @Field(() => String, { description: 'Its place, for `after` and `before`. Opaque.' })
    cursor!: string;
  }

  @ObjectType(`${name}Connection`, { description: `A page of ${name} items (Relay).` })
  class ConnectionType implements Connection<Node> {
    @Field(() => [EdgeType], { description: 'The items of this page, in order.' })
    edges!: EdgeType[];

    @Field(() => PageInfo, { description: 'Where this page lies in the list.' })
    pageInfo!: PageInfo;
  }
  return ConnectionType;
}

/** Dresses a page of rows as a connection. */
export function toConnection<Row, Node>(
  page: Page<Row>,
  cursor: CursorKind,
  positionOf: (row: Row) => string | number,
  toNode: (row: Row) => Node,
): Connection<Node> {
  const edges = page.rows.map((row) => ({ node: toNode(row), cursor: cursor.encode(positionOf(row)) }));
  return {
    edges,
    pageInfo: {
      hasNextPage: page.hasNextPage,
      hasPreviousPage: page.hasPreviousPage,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}
