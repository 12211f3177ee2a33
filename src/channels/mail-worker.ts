import { parentPort, workerData } from 'node:worker_threads';

import type { MailAnswer, MailJob } from './mail-threads.ts';
import { createSmtpClient } from './smtp-client.ts';

// Worker thread that composes and sends mail: see `mail-threads.ts`.

const client = createSmtpClient((workerData as { outboundAllow: string[] }).outboundAllow);

parentPort?.on('message', async ({ id, relay, mail, timeoutMs }: MailJob) => {
  const answer: MailAnswer = { id, result: await client.send(relay, mail, timeoutMs) };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(answer);
});
