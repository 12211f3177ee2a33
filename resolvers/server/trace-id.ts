import type { IncomingHttpHeaders } from 'node:http';

import { newId } from '../../src/ids.ts';

/** The id that errors and log lines of a request carry: the caller's own where it sent one that can be printed. */
export function traceIdOf(headers: IncomingHttpHeaders): string {
  const own = headers['x-trace-id'];
  if (typeof own === 'string' && /^[\w.:-]{1,128}$/.test(own)) return own;
  const parent = headers['traceparent'];
  const traceId = typeof parent === 'string' ? /^00-([0-9a-f]{32})-/.exec(parent)?.[1] : undefined;
  return traceId ?? newId();
}
