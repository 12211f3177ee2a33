import { ArgsType, type ClassType, Directive, Field, Int, ObjectType } from 'type-graphql';

import type { CursorKind, Page } from '../src/paging/page.ts';

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

/** Arguments of a list that is read forward only. */
@ArgsType()
export class ForwardPageArgs {
  @Field(() => Int, { nullable: true, defaultValue: 20, description: 'How many; 1 to 100.' })
  first?: number | null;

  @Field(() => String, { nullable: true, description: 'Only those after this cursor (older ones).' })
  after?: string | null;
}

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
