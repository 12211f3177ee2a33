import { ArgsType, type ClassType, Directive, Field, Int, ObjectType } from 'type-graphql';

import type { CursorKind, Page } from '../../src/paging/page.ts';

@Directive('@shareable')
@ObjectType({ description: 'Position of a page within its list, as Relay defines it.' })
export class PageInfo {
  @Field(() => Boolean, { description: 'Whether the list has items after this page.' })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: 'Whether the list has items before this page.' })
  hasPreviousPage!: boolean;

  @Field(() => String, {
    nullable: true,
    description: 'Cursor of the first edge of this page; null when the page is empty.',
  })
  startCursor!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Cursor of the last edge of this page; null when the page is empty.',
  })
  endCursor!: string | null;
}

/** Relay page arguments: `first` and `after` page from the newest item, `last` and `before` from the oldest. */
@ArgsType()
export class PageArgs {
  @Field(() => Int, {
    nullable: true,
    defaultValue: 20,
    description: 'Number of items to return, starting with the newest; 1 to 100.',
  })
  first?: number | null;

  @Field(() => String, { nullable: true, description: 'Only items after this cursor, which are older.' })
  after?: string | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Number of items to return from the end of the list, which are the oldest; 1 to 100.',
  })
  last?: number | null;

  @Field(() => String, { nullable: true, description: 'Only items before this cursor, which are newer.' })
  before?: string | null;
}

/** Declares the page size for cost estimation, here and in gateways: see `query-limits.ts`. */
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

/** Creates the Relay types of a node type: `<Name>Connection` and `<Name>Edge`. */
export function connectionOf<Node extends object>(name: string, node: ClassType<Node>): ClassType<Connection<Node>> {
  @ObjectType(`${name}Edge`, { description: `One ${name} with its cursor in the list.` })
  class EdgeType implements Edge<Node> {
    @Field(() => node, { description: `The ${name} of this edge.` })
    node!: Node;

    @Field(() => String, { description: 'Opaque cursor of the item, to pass as `after` or `before`.' })
    cursor!: string;
  }

  @ObjectType(`${name}Connection`, { description: `A page of ${name} items, as a Relay connection.` })
  class ConnectionType implements Connection<Node> {
    @Field(() => [EdgeType], { description: 'Items of this page, in the order of the list.' })
    edges!: EdgeType[];

    @Field(() => PageInfo, { description: 'Position of this page within the list.' })
    pageInfo!: PageInfo;
  }
  return ConnectionType;
}

/** Converts a page of rows to a Relay connection. */
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
