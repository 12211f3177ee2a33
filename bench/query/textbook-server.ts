import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { MikroORM } from '@mikro-orm/postgresql';
import { GraphQLDateTime, GraphQLJSONObject } from 'graphql-scalars';

import { entities } from '../../src/database/entities.ts';
import { InboxEntity, NotificationEntity } from '../../src/inbox/notification.entity.ts';
import { verifier } from './identity.ts';
import { RecipientScope, decode, toConnection, typeDefs } from './schema.ts';

// Apollo Server and MikroORM as in their documentation: one entity manager per request, rows as entities.

const verify = await verifier(process.env['DATA_PATH'] ?? '');
const orm = await MikroORM.init({ entities, clientUrl: process.env['DATABASE_URL'] ?? '', pool: { max: 20 } });

interface Context {
  em: typeof orm.em;
  who: { tenantId: string; userId: string };
}

const resolvers = {
  DateTime: GraphQLDateTime,
  JSONObject: GraphQLJSONObject,
  RecipientScope,
  Query: {
    unreadNotificationCount: async (_root: unknown, _args: unknown, { em, who }: Context) =>
      (await em.fork().findOne(InboxEntity, who))?.unreadCount ?? 0,
    notifications: async (
      _root: unknown,
      { first, after }: { first: number; after?: string | null },
      { em, who }: Context,
    ) => {
      const where = { ...who, archivedAt: null, ...(after ? { createdSeq: { $lt: decode(after) } } : {}) };
      const rows = await em
        .fork()
        .find(NotificationEntity, where, { orderBy: { createdSeq: 'desc' }, limit: first + 1 });
      return toConnection(rows, first, (row) => row.createdSeq, after !== null && after !== undefined);
    },
  },
};

const server = new ApolloServer<Context>({ typeDefs, resolvers });
const { url } = await startStandaloneServer(server, {
  listen: { port: 0, host: '127.0.0.1' },
  context: async ({ req }) => ({ em: orm.em.fork(), who: await verify(req.headers.authorization) }),
});
process.send?.({ url: `${url}graphql` });
