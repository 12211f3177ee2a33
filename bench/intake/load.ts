import { Pool } from 'undici';

import { loadEvent } from '../../test/support/load.ts';

// Producer over HTTP, in a separate process: each connection posts new events, one request after another.

export interface LoadOrder {
  url: string;
  token: string;
  connections: number;
  /** Number of events per request. One event is sent alone, more are sent as a batch. */
  perRequest: number;
  seconds: number;
}

export interface LoadResult {
  events: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

let number = 0;

function cloudEvent(): Record<string, unknown> {
  const data = loadEvent('email', (number += 1));
  return { specversion: '1.0', id: data['event_id'], source: '/load', type: 'notification.triggered.v1', data };
}

async function load({ url, token, connections, perRequest, seconds }: LoadOrder): Promise<LoadResult> {
  const { origin, pathname: path } = new URL(url);
  const pool = new Pool(origin, { connections, pipelining: 1 });
  const contentType = perRequest === 1 ? 'application/cloudevents+json' : 'application/cloudevents-batch+json';
  const headers = { 'content-type': contentType, authorization: `Bearer ${token}` };
  const latencies: number[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1_000;
  const produce = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      const body = JSON.stringify(perRequest === 1 ? cloudEvent() : Array.from({ length: perRequest }, cloudEvent));
      const sentAt = performance.now();
      const response = await pool.request({ path, method: 'POST', headers, body });
      const answer = await response.body.text();
      if (response.statusCode !== 202) throw new Error(`the server answered ${response.statusCode}: ${answer}`);
      latencies.push(performance.now() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: connections }, produce));
  const elapsedMs = performance.now() - startedAt;
  await pool.close();
  latencies.sort((a, b) => a - b);
  const percentile = (share: number): number => latencies[Math.ceil(latencies.length * share) - 1] ?? Number.NaN;
  const events = latencies.length * perRequest;
  return { events, perSecond: (events * 1_000) / elapsedMs, p50Ms: percentile(0.5), p99Ms: percentile(0.99) };
}

process.on('message', (order: LoadOrder) => {
  load(order)
    .then((result) => process.send?.(result))
    .catch((error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    });
});
process.on('disconnect', () => process.exit(0));
