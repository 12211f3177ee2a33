import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { ApolloServer } from '@apollo/server';
import { ApolloServerPluginInlineTraceDisabled } from '@apollo/server/plugin/disabled';
import { ApolloServerPluginDrainHttpServer } from '@apollo/server/plugin/drainHttpServer';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';
import { RedisPubSub } from 'graphql-redis-subscriptions';
import { useServer } from 'graphql-ws/use/ws';
import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';

// Subscriptions as in the documentation of Apollo Server, graphql-ws and Redis pub/sub, which run the operation for
// each subscriber and event. The types are those of the subgraph, but its scalars are not validated, because validation
// would slow this server down and make the comparison unfair.

const typeDefs = parse(/* GraphQL */ `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
  scalar DateTime
  scalar JSONObject
  enum RecipientScope {
    users
    merchant
    organization
  }
  type Notification @key(fields: "id") {
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
  type Query {
    notification(id: ID!): Notification
  }
  type Subscription {
    notificationCreated: Notification!
  }
`);

const redisUrl = process.env['REDIS_URL'] ?? '';
const channel = process.env['FANOUT_CHANNEL'] ?? '';
const pubsub = new RedisPubSub({ publisher: new Redis(redisUrl), subscriber: new Redis(redisUrl) });
const resolvers = {
  Query: { notification: () => null },
  Subscription: { notificationCreated: { subscribe: () => pubsub.asyncIterableIterator(channel) } },
};
const schema = buildSubgraphSchema([{ typeDefs, resolvers }]);

const http = createServer();
const sockets = new WebSocketServer({ server: http, path: '/graphql' });
const live = useServer({ schema }, sockets);
const apollo = new ApolloServer({
  schema,
  plugins: [
    ApolloServerPluginInlineTraceDisabled(),
    ApolloServerPluginDrainHttpServer({ httpServer: http }),
    { serverWillStart: async () => ({ drainServer: async () => live.dispose() }) },
  ],
});
await apollo.start();
http.listen(0, '127.0.0.1', () => process.send?.({ port: (http.address() as AddressInfo).port }));
