import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ApolloGateway, RemoteGraphQLDataSource } from '@apollo/gateway';
import { composeServices } from '@apollo/composition';
import { ApolloServer } from '@apollo/server';
import { parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../../../src/project-root.ts';
import { startTestService, type TestService } from '../../support/service.ts';

/** Directives that @apollo/gateway does not support. The subgraph enforces them itself. */
const UNSUPPORTED =
  /^directive @(authenticated|requiresScopes).*$|\s@(authenticated|requiresScopes\(scopes: \[\[[^\]]*\]\]\))/gm;

describe('inline trace', () => {
  let service: TestService;
  let token: string;
  beforeAll(async () => {
    service = await startTestService();
    token = await service.token({ tenant_id: 'tenant-trace', sub: 'anna' });
  });
  afterAll(() => service.close());

  /** Starts a gateway over the subgraph that records the extensions of each response. */
  async function startGateway(options: { tracesOperations: boolean }) {
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
    const sdl = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
    const { supergraphSdl, errors } = composeServices([
      {
        name: 'notification',
        url: `${service.url}/graphql`,
        typeDefs: parse(sdl.replaceAll(UNSUPPORTED, '').replace(', "@authenticated", "@requiresScopes"', '')),
      },
    ]);
    expect(errors).toBeUndefined();
    const gateway = new ApolloGateway({
      supergraphSdl: supergraphSdl as string,
      buildService: ({ url }) => new Source({ url: url as string }),
    });
    const server = new ApolloServer({
      gateway,
      plugins: [
        {
          requestDidStart: async ({ metrics }) => {
            metrics.captureTraces = options.tracesOperations;
          },
        },
      ],
    });
    await server.start();
    return { server, extensions };
  }

  it.each([
    { tracesOperations: true, expected: [{ ftv1: expect.any(String) as string }] },
    { tracesOperations: false, expected: [undefined] },
  ])('is sent to @apollo/gateway only on request: $tracesOperations', async ({ expected, ...options }) => {
    const { server, extensions } = await startGateway(options);
    try {
      const response = await server.executeOperation({ query: '{ unreadNotificationCount }' });
      expect(response.body).toMatchObject({ singleResult: { data: { unreadNotificationCount: 0 } } });
      expect(extensions).toEqual(expected);
    } finally {
      await server.stop();
    }
  });
});
