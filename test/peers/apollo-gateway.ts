import { composeServices } from '@apollo/composition';
import { ApolloGateway, RemoteGraphQLDataSource } from '@apollo/gateway';
import { ApolloServer } from '@apollo/server';
import { parse } from 'graphql';

import type { ApolloGateways } from '../support/peers.ts';

/** Directives that @apollo/gateway does not support. The subgraph enforces them itself. */
const UNSUPPORTED =
  /^directive @(authenticated|requiresScopes).*$|\s@(authenticated|requiresScopes\(scopes: \[\[[^\]]*\]\]\))/gm;

/** Starts a gateway over the subgraph that records the extensions of each response. */
export const startTraceGateway: ApolloGateways['startTraceGateway'] = async ({
  subgraphUrl,
  sdl,
  token,
  tracesOperations,
}) => {
  const extensions: unknown[] = [];
  class Source extends RemoteGraphQLDataSource {
    override willSendRequest({ request }: Parameters<NonNullable<RemoteGraphQLDataSource['willSendRequest']>>[0]) {
      request.http?.headers.set('authorization', `Bearer ${token}`);
    }
    override didReceiveResponse({
      response,
    }: Parameters<NonNullable<RemoteGraphQLDataSource['didReceiveResponse']>>[0]) {
      extensions.push(response.extensions);
      return response;
    }
  }
  const { supergraphSdl, errors } = composeServices([
    {
      name: 'notification',
      url: subgraphUrl,
      typeDefs: parse(sdl.replaceAll(UNSUPPORTED, '').replace(', "@authenticated", "@requiresScopes"', '')),
    },
  ]);
  if (!supergraphSdl) throw new Error(errors?.map(String).join('\n'));
  const server = new ApolloServer({
    gateway: new ApolloGateway({ supergraphSdl, buildService: ({ url }) => new Source({ url: url as string }) }),
    plugins: [
      {
        requestDidStart: async ({ metrics }) => {
          metrics.captureTraces = tracesOperations;
        },
      },
    ],
  });
  await server.start();
  return {
    extensions,
    execute: async (query) => {
      const { body } = await server.executeOperation({ query });
      return body.kind === 'single' ? body.singleResult.data : undefined;
    },
    stop: () => server.stop(),
  };
};
