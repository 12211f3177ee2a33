import { type Audit, serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startTestService, type TestService } from '../../support/service.ts';

/**
 * Recommendations that the contract decides otherwise. To old clients, who ask for `application/json`, the
 * specification would say 200 whatever is wrong with a request; here a request that failed as a whole has the status
 * of its error, whichever form the answer is in.
 */
const DECIDED_OTHERWISE = new Set([
  '572B', // a document that does not parse
  'FDE2', // a document that is not valid
  '7B9B', // variables that do not fit
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
        // A GET needs it: other sites could send one otherwise.
        'graphql-require-preflight': '1',
        ...(init.headers as Record<string, string>),
      },
    }),
});

describe('GraphQL over HTTP', () => {
  it.each(audits.map((audit) => [audit.name, audit.id, audit] as const))('%s (%s)', async (_name, id, audit) => {
    expect((await audit.fn()).status).toBe(DECIDED_OTHERWISE.has(id) ? 'warn' : 'ok');
  });

  it('is not departed from where it says MUST', () => {
    const departed = audits.filter(({ id }) => DECIDED_OTHERWISE.has(id)).map(({ name }) => name.split(' ')[0]);
    expect(departed).toEqual(['SHOULD', 'SHOULD', 'SHOULD']);
  });
});
