import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../../../src/project-root.ts';
import { loadApolloGateways } from '../../support/peers.ts';
import { startTestService, type TestService } from '../../support/service.ts';

describe('inline trace', () => {
  let service: TestService;
  let token: string;
  beforeAll(async () => {
    service = await startTestService();
    token = await service.token({ tenant_id: 'tenant-trace', sub: 'anna' });
  });
  afterAll(() => service.close());

  it.each([
    { tracesOperations: true, expected: [{ ftv1: expect.any(String) as string }] },
    { tracesOperations: false, expected: [undefined] },
  ])('is sent to @apollo/gateway only on request: $tracesOperations', async ({ expected, ...options }) => {
    const { startTraceGateway } = await loadApolloGateways();
    const sdl = await readFile(join(projectRoot, 'schema', 'subgraph.graphql'), 'utf8');
    const gateway = await startTraceGateway({ subgraphUrl: `${service.url}/graphql`, sdl, token, ...options });
    try {
      expect(await gateway.execute('{ unreadNotificationCount }')).toEqual({ unreadNotificationCount: 0 });
      expect(gateway.extensions).toEqual(expected);
    } finally {
      await gateway.stop();
    }
  });
});
