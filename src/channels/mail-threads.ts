import { Worker } from 'node:worker_threads';

import type { SendResult } from './send-result.ts';
import type { Mail, SmtpClient, SmtpRelay } from './smtp-client.ts';

/** Request to a worker thread. */
export interface MailJob {
  id: number;
  relay: SmtpRelay;
  mail: Mail;
  timeoutMs: number;
}

/** Reply of a worker thread. */
export interface MailAnswer {
  id: number;
  result: SendResult;
}

export interface MailThreadsOptions {
  threads: number;
  outboundAllow: readonly string[];
  /** Script of the worker threads. Default: `mail-worker`. */
  script?: URL;
}

interface Thread {
  worker: Worker;
  waiting: Map<number, (result: SendResult) => void>;
}

/** The worker script has the same extension as this file: `.js` after compilation, `.ts` when Node.js strips types. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './mail-worker.ts' : './mail-worker.js', import.meta.url);

/** The thread ended while it was sending, so the relay may have accepted the mail. */
const LOST: SendResult = {
  outcome: 'unknown',
  blames: 'provider',
  errorCode: 'mail_thread_lost',
  errorMessage: 'The worker thread ended while it was sending the mail.',
};

/**
 * Returns an SMTP client that composes and sends mail in worker threads. Each relay is assigned to one thread, so that
 * its connection limit holds. A thread that ends is replaced.
 */
export function mailThreads({ threads, outboundAllow, script = WORKER }: MailThreadsOptions): SmtpClient {
  let isClosing = false;
  let lastId = 0;
  const slots: (Thread | undefined)[] = Array.from({ length: threads }, () => undefined);

  const threadAt = (slot: number): Thread => {
    const known = slots[slot];
    if (known) return known;
    const thread: Thread = { worker: new Worker(script, { workerData: { outboundAllow } }), waiting: new Map() };
    thread.worker.on('message', ({ id, result }: MailAnswer) => {
      thread.waiting.get(id)?.(result);
      thread.waiting.delete(id);
    });
    const lost = (): void => {
      if (slots[slot] === thread) slots[slot] = undefined;
      for (const answer of thread.waiting.values()) answer(LOST);
      thread.waiting.clear();
    };
    thread.worker.on('error', lost);
    thread.worker.on('exit', lost);
    thread.worker.unref();
    slots[slot] = thread;
    return thread;
  };

  return {
    send: (relay, mail, timeoutMs) =>
      new Promise((resolve) => {
        if (isClosing) return resolve(LOST);
        const { worker, waiting } = threadAt(slotOf(relay, threads));
        const job: MailJob = { id: (lastId += 1), relay, mail, timeoutMs };
        waiting.set(job.id, resolve);
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        worker.postMessage(job);
      }),
    close: async () => {
      isClosing = true;
      await Promise.all(slots.map((thread) => thread?.worker.terminate()));
    },
  };
}

/** Assigns a relay to a thread by the FNV-1a hash of its tenant and address. */
function slotOf({ tenantId, host, port, user }: SmtpRelay, threads: number): number {
  let hash = 0x811c9dc5;
  for (const character of `${tenantId}\n${user ?? ''}@${host}:${port}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) as number), 0x01000193);
  }
  return (hash >>> 0) % threads;
}
