import autocannon from 'autocannon';

import { INBOX_PAGE, type LoadOrder, type LoadResult, PAGE } from '../query/setup.ts';

// Load generator, in a separate process: requests the same page repeatedly and reports the rate.

async function load({ url, token, connections, seconds }: LoadOrder): Promise<LoadResult> {
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: INBOX_PAGE, variables: { first: PAGE } }),
  });
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} responses did not have a status of 2xx`);
  const { p50, p99 } = result.latency;
  return { answered: result['2xx'], perSecond: result['2xx'] / result.duration, p50Ms: p50, p99Ms: p99 };
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
