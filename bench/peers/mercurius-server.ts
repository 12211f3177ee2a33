import { fastify } from 'fastify';
import { GraphQLDateTime, GraphQLJSONObject } from 'graphql-scalars';
import mercurius, { type IResolvers } from 'mercurius';
import pg from 'pg';

import { verifier } from '../query/identity.ts';
import { decode, toConnection, typeDefs } from '../query/schema.ts';

// Mercurius with JIT compilation and plain SQL: a very fast GraphQL server on Node. No transactions and no tenant
// isolation.

const verify = await verifier(process.env['DATA_PATH'] ?? '');
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 20 });

interface Who {
  tenantId: string;
  userId: string;
}

interface Row {
  createdSeq: string;
}

const resolvers = {
  DateTime: GraphQLDateTime,
  JSONObject: GraphQLJSONObject,
  Query: {
    unreadNotificationCount: async (_root: unknown, _args: unknown, { who }: { who: Who }) => {
      const { rows } = await pool.query<{ unread: number }>({
        name: 'unread',
        text: 'select unread_count as unread from inbox where tenant_id = $1 and user_id = $2',
        values: [who.tenantId, who.userId],
      });
      return rows[0]?.unread ?? 0;
    },
    notifications: async (
      _root: unknown,
      { first, after }: { first: number; after?: string | null },
      { who }: { who: Who },
    ) => {
      const { rows } = await pool.query<Row>({
        name: 'page',
        text: `select id, created_seq as "createdSeq", type, category, title, body, data, action_url as "actionUrl",
            upper(recipient_scope) as "recipientScope", created_at as "createdAt", read_at as "readAt",
            archived_at as "archivedAt"
          from notification
          where tenant_id = $1 and user_id = $2 and archived_at is null and ($3::bigint is null or created_seq < $3)
          order by created_seq desc limit $4`,
        values: [who.tenantId, who.userId, after ? decode(after) : null, first + 1],
      });
      return toConnection(rows, first, (row) => Number(row.createdSeq), after !== null && after !== undefined);
    },
  },
};

const app = fastify();
await app.register(mercurius, {
  schema: typeDefs,
  resolvers: resolvers as unknown as IResolvers,
  jit: 1,
  context: async (request) => ({ who: await verify(request.headers.authorization) }),
});
const url = await app.listen({ port: 0, host: '127.0.0.1' });
process.send?.({ url: `${url}/graphql` });
