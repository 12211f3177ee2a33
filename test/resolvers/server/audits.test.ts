import { type Audit, serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startTestService, type TestService } from '../../support/service.ts';

/**
 * Recommendations that we do not follow: for clients that accept `application/json`, the specification recommends
 * status 200 for every request error. Here a request that failed as a whole has the status of its error, for every
 * media type.
 */
const DECIDED_OTHERWISE = new Set([
  '572B', // a document with a syntax error
  'FDE2', // an invalid document
  '7B9B', // variables of the wrong type
]);

let service: TestService;
let token: string;
beforeAll(async () => {
  service = await startTestService();
  token = await service.token({ tenant_id: 'tenant-audits' });
});
afterAll(() => service.close());

const audits: Audit[] = serverAudits({
  url: () => `${service.url}/graphql`,
  fetchFn: (url: string | URL, init: RequestInit = {}) =>
    fetch(url, {
      ...init,
      headers: {
        authorization: `Bearer ${token}`,
        // Required for GET, because another site could send it otherwise.
        'graphql-require-preflight': '1',
        ...(init.headers as Record<string, string>),
      },
    }),
});

describe('GraphQL over HTTP', () => {
  it.each(audits.map((audit) => [audit.name, audit.id, audit] as const))('%s (%s)', async (_name, id, audit) => {
    expect((await audit.fn()).status).toBe(DECIDED_OTHERWISE.has(id) ? 'warn' : 'ok');
  });

  it('deviates only from recommendations (SHOULD), not from requirements (MUST)', () => {
    const departed = audits.filter(({ id }) => DECIDED_OTHERWISE.has(id)).map(({ name }) => name.split(' ')[0]);
    expect(departed).toEqual(['SHOULD', 'SHOULD', 'SHOULD']);
  });
});
