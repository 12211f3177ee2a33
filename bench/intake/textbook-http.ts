import { fastify } from 'fastify';

import { verifier } from '../query/identity.ts';
import { openTextbookStore } from './textbook-store.ts';

// Fastify, and one insert an event, also for the events of a batch.

const verify = await verifier(process.env['DATA_PATH'] ?? '');
const store = await openTextbookStore();

const app = fastify();
app.addContentTypeParser(
  ['application/cloudevents+json', 'application/cloudevents-batch+json'],
  { parseAs: 'string', bodyLimit: 4 * 1024 * 1024 },
  app.getDefaultJsonParser('error', 'error'),
);
app.post('/events', async (request, reply) => {
  const { tenantId } = await verify(request.headers.authorization);
  const events = (Array.isArray(request.body) ? request.body : [request.body]) as { data: { tenant_id: string } }[];
  const results = [];
  for (const { data } of events) {
    if (data.tenant_id !== tenantId) return reply.code(403).send({ error_code: 'tenant_mismatch' });
    results.push(await store(data));
  }
  return reply.code(202).send({ results });
});
const url = await app.listen({ port: 0, host: '127.0.0.1' });
process.send?.({ url: `${url}/events` });
