import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createGatewayRuntime } from '@graphql-hive/gateway-runtime';
import { composeServices } from '@theguild/federation-composition';
import { parse } from 'graphql';

// A Hive Gateway in a process of its own: `node hive.ts`, with these in the environment. Says its URL on its IPC channel.

const { SUBGRAPH_URL = '', SUBGRAPH_SDL = '', SUBSCRIPTIONS = '' } = process.env;

const { supergraphSdl, errors } = composeServices([
  { name: 'notification', url: SUBGRAPH_URL, typeDefs: parse(SUBGRAPH_SDL) },
]);
if (!supergraphSdl) throw new Error(errors?.map((error) => error.message).join('\n'));

const gateway = createGatewayRuntime({
  supergraph: supergraphSdl,
  logging: false,
  ...(SUBSCRIPTIONS === 'ws' && {
    transportEntries: {
      notification: {
        options: {
          subscriptions: {
            kind: 'ws',
            location: SUBGRAPH_URL,
            options: { connectionParams: { token: '{context.headers.authorization}' } },
          },
        },
      },
    },
  }),
  propagateHeaders: {
    fromClientToSubgraphs: ({ request }) => ({ authorization: request.headers.get('authorization') ?? '' }),
  },
});
const server = createServer((request, response) => void gateway(request, response));
server.listen(0, '127.0.0.1', () => {
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
