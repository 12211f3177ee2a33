import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { answer, type HttpPeer, startHttpPeer } from '../support/http-peer.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService } from '../support/service.ts';

interface Event {
  id: string;
  trace_id: string;
}

describe('the audit relay', () => {
  let sink: HttpPeer;
  let service: TestService;
  const taken: Event[] = [];
  const clients: pg.Client[] = [];

  beforeEach(async () => {
    taken.length = 0;
    sink = await startHttpPeer();
    sink.onRequest = (request, response) => {
      taken.push(...(JSON.parse(request.body) as Event[]));
      response.writeHead(204).end();
    };
    service = await startTestService({ AUDIT_SERVICE_ENDPOINT: `${sink.url}/audit` });
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
    await service.close();
    await sink.close();
  });

  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: service.databaseUrl });
    await client.connect();
    clients.push(client);
    return client;
  };
  let nextId = 0;
  /** Ids increase in the order of writing, not of committing, as in production. */
  const write = (client: pg.Client, trace: string): Promise<unknown> =>
    client.query(
      `insert into audit_event (id, tenant_id, action, actor_id, trace_id, details)
       values ($1, 'tenant-audit', 'notification.sent', 'anna', $2, '{"channel": "email"}')`,
      [`01900000-0000-7000-8000-${String((nextId += 1)).padStart(12, '0')}`, trace],
    );
  const traces = (): string[] => taken.map((event) => event.trace_id);

  it('sends events in the documented format', async () => {
    await write(await connect(), 'trace-1');
    await eventually(() => taken.length === 1, 'the event');
    expect(taken).toEqual([
      {
        id: expect.stringMatching(/^01900000-/),
        tenant_id: 'tenant-audit',
        actor_id: 'anna',
        trace_id: 'trace-1',
        action: 'notification.sent',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        details: { channel: 'email' },
      },
    ]);
  });

  it('skips no event that was written earlier but committed later', async () => {
    const [slow, quick] = [await connect(), await connect()];
    await slow.query('begin');
    await write(slow, 'slow');
    await write(quick, 'quick');
    const before = sink.requests.length;
    await eventually(async () => {
      const { rows } = await quick.query('select passed_on_at from audit_relay');
      return rows.length > 0;
    }, 'a round of the relay');
    expect(sink.requests.length).toBe(before);
    await slow.query('commit');
    await eventually(() => taken.length === 2, 'both events');
    expect(traces()).toEqual(['slow', 'quick']);
  });

  it('survives an outage of the service: every event arrives once, in order, in batches', async () => {
    let isUp = false;
    const takes = sink.onRequest;
    sink.onRequest = (request, response) => (isUp ? takes(request, response) : answer(response, { status: 503 }));
    const client = await connect();
    for (let index = 0; index < 250; index += 1) await write(client, `trace-${index}`);
    await eventually(() => sink.requests.length >= 2, 'two attempts');
    expect(taken).toEqual([]);
    isUp = true;
    await eventually(() => taken.length >= 250, 'every event');
    expect(traces()).toEqual(Array.from({ length: 250 }, (_unused, index) => `trace-${index}`));
    expect(sink.requests.every((request) => (JSON.parse(request.body) as Event[]).length <= 100)).toBe(true);
    const keys = sink.requests.map((request) => [request.headers['idempotency-key'], request.body]);
    expect(new Map(keys as [string, string][]).size).toBe(new Set(keys.map(([, body]) => body)).size);
  });

  it('continues at the position of another instance', async () => {
    const client = await connect();
    await write(client, 'first');
    await eventually(() => taken.length === 1, 'the first event');
    await service.startAnother();
    for (let index = 0; index < 20; index += 1) await write(client, `more-${index}`);
    await eventually(() => taken.length >= 21, 'every event');
    expect(traces()).toEqual(['first', ...Array.from({ length: 20 }, (_unused, index) => `more-${index}`)]);
  });
});
