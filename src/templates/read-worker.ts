import { parentPort } from 'node:worker_threads';

import { type Analysis, analyse } from './syntax.ts';
import type { ThreadAnswer, ThreadJob } from './thread.ts';

// Worker thread that parses templates: see `read.ts`.

parentPort?.on('message', ({ id, question }: ThreadJob<string>) => {
  const answer: ThreadAnswer<Analysis> = { id, answer: analyse(question) };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(answer);
});
