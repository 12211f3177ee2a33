import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createGatewayRuntime } from '@graphql-hive/gateway-runtime';
import { MemPubSub } from '@graphql-hive/pubsub';
import { composeServices } from '@theguild/federation-composition';
import { parse } from 'graphql';

import type { HiveStart, HiveUrls, SubgraphTransport } from '../support/transports/hive-gateway.ts';

// Hive Gateways in a separate process, one for each way of subscribing to a subgraph. Sends their URLs on its IPC
// channel, receives the subgraph, and confirms when they are ready.

// The parent process has exited.
process.once('disconnect', () => process.exit());

/** Hive ends a subscription without events after this time, in milliseconds. */
const HEARTBEAT_MS = 1_000;

const urls = {} as HiveUrls;
const handlers = new Map<SubgraphTransport, RequestListener>();
for (const kind of ['ws', 'sse', 'callback'] as const) {
  const server = createServer((request, response) => handlers.get(kind)?.(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  urls[kind] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
process.send?.(urls);

const [{ subgraphUrl, sdl }] = (await once(process, 'message')) as [HiveStart];
const { supergraphSdl, errors } = composeServices([{ name: 'notification', url: subgraphUrl, typeDefs: parse(sdl) }]);
if (!supergraphSdl) throw new Error(errors?.map((error) => error.message).join('\n'));

/** The configuration in docs/gateway.md. Server-sent events need none. */
const subscriptions = {
  ws: {
    kind: 'ws',
    location: subgraphUrl,
    options: { connectionParams: { token: '{context.headers.authorization}' }, lazyCloseTimeout: 0 },
  },
  sse: undefined,
  callback: {
    kind: 'http-callback',
    location: subgraphUrl,
    headers: [['authorization', '{context.headers.authorization}']] as [string, string][],
    options: { public_url: `${urls.callback}/callback`, path: '/callback', heartbeat_interval: HEARTBEAT_MS },
  },
};
for (const kind of ['ws', 'sse', 'callback'] as const) {
  const gateway = createGatewayRuntime({
    supergraph: supergraphSdl,
    logging: false,
    ...(subscriptions[kind] && {
      transportEntries: { notification: { options: { subscriptions: subscriptions[kind] } } },
    }),
    ...(kind === 'callback' && { webhooks: true, pubsub: new MemPubSub() }),
    propagateHeaders: {
      fromClientToSubgraphs: ({ request }) => ({ authorization: request.headers.get('authorization') ?? '' }),
    },
  });
  handlers.set(kind, (request, response) => void gateway(request, response));
}
process.send?.('ready');
