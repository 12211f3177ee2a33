import { parentPort } from 'node:worker_threads';

import type { ReadAnswer, ReadJob } from './read.ts';
import { analyse } from './syntax.ts';

// A thread that reads templates: see `read.ts`.

parentPort?.on('message', ({ id, source }: ReadJob) => {
  const answer: ReadAnswer = { id, analysis: analyse(source) };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(answer);
});
