import { parentPort, workerData } from 'node:worker_threads';

import type { BeginOptions } from './send-options.ts';
import type { MailAnswer, MailJob } from './mail-threads.ts';
import { createSmtpClient } from './smtp-client.ts';

// Worker thread that composes and sends mail: see `mail-threads.ts`.

const client = createSmtpClient((workerData as { outboundAllow: string[] }).outboundAllow);
/** Mails that wait for the answer to `begin`, by id. */
const beginning = new Map<number, (hasBegun: boolean) => void>();

const post = (answer: MailAnswer): void => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(answer);
};

parentPort?.on('message', async (job: MailJob) => {
  const { id } = job;
  if ('hasBegun' in job) {
    beginning.get(id)?.(job.hasBegun);
    beginning.delete(id);
    return;
  }
  const { relay, mail, timeoutMs } = job;
  let begun: Promise<boolean> | undefined;
  const begin = ({ isNext = false }: BeginOptions = {}): Promise<boolean> => {
    begun ??= new Promise((resolve) => beginning.set(id, resolve));
    post({ id, begin: isNext ? 'next' : 'now' });
    return begun;
  };
  post({ id, result: await client.send(relay, mail, { timeoutMs, begin }) });
});
