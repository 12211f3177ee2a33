import type { IncomingHttpHeaders } from 'node:http';

import { newId } from '../../src/ids.ts';

/** Returns the trace id of a request: `x-trace-id` if it is valid, else that of `traceparent`, else a new one. */
export function traceIdOf(headers: IncomingHttpHeaders): string {
  const own = headers['x-trace-id'];
  if (typeof own === 'string' && /^[\w.:-]{1,128}$/.test(own)) return own;
  const parent = headers['traceparent'];
  const traceId = typeof parent === 'string' ? /^00-([0-9a-f]{32})-/.exec(parent)?.[1] : undefined;
  return traceId ?? newId();
}
