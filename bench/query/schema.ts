/** Part of the subgraph's schema that the measured query needs. */
export const typeDefs = /* GraphQL */ `
  scalar DateTime
  scalar JSONObject
  enum RecipientScope {
    USERS
    MERCHANT
    ORGANIZATION
  }
  type Notification {
    id: ID!
    cursor: String!
    type: String!
    category: String
    title: String
    body: String!
    data: JSONObject
    actionUrl: String
    recipientScope: RecipientScope!
    createdAt: DateTime!
    readAt: DateTime
    archivedAt: DateTime
  }
  type NotificationEdge {
    node: Notification!
    cursor: String!
  }
  type PageInfo {
    hasNextPage: Boolean!
    hasPreviousPage: Boolean!
    startCursor: String
    endCursor: String
  }
  type NotificationConnection {
    edges: [NotificationEdge!]!
    pageInfo: PageInfo!
  }
  type Query {
    unreadNotificationCount: Int!
    notifications(first: Int = 20, after: String): NotificationConnection!
  }
`;

/** Values of the enum in the database. */
export const RecipientScope = { USERS: 'users', MERCHANT: 'merchant', ORGANIZATION: 'organization' };

export const encode = (seq: number): string => Buffer.from(`in:${seq}`).toString('base64url');

export const decode = (cursor: string): number => Number(Buffer.from(cursor, 'base64url').toString().slice(3));

/** Converts rows to a connection. There is one row more than requested if there is another page. */
export function toConnection<Row>(rows: Row[], first: number, seqOf: (row: Row) => number, hasPreviousPage: boolean) {
  const edges = rows.slice(0, first).map((row) => {
    const cursor = encode(seqOf(row));
    return { cursor, node: { ...row, cursor } };
  });
  return {
    edges,
    pageInfo: {
      hasNextPage: rows.length > first,
      hasPreviousPage,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}
