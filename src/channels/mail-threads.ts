import { Worker } from 'node:worker_threads';

import type { SendOptions } from './send-options.ts';
import type { SendResult } from './send-result.ts';
import type { Mail, SmtpClient, SmtpRelay } from './smtp-client.ts';

/** Message to a worker thread: a mail to send, or the answer to `begin`. */
export type MailJob =
  | { id: number; relay: SmtpRelay; mail: Mail; timeoutMs: number }
  | { id: number; hasBegun: boolean };

/** Message of a worker thread: the result, or a call of `begin`. */
export type MailAnswer = { id: number; result: SendResult } | { id: number; begin: 'next' | 'now' };

export interface MailThreadsOptions {
  threads: number;
  outboundAllow: readonly string[];
  /** Script of the worker threads. Default: `mail-worker`. */
  script?: URL;
}

interface Waiting {
  resolve: (result: SendResult) => void;
  begin: SendOptions['begin'];
  isBegun: boolean;
}

interface Thread {
  worker: Worker;
  waiting: Map<number, Waiting>;
}

/** The thread ended before it began to send the mail. */
const NOT_BEGUN: SendResult = {
  outcome: 'transient',
  blames: 'message',
  errorCode: 'mail_thread_lost',
  errorMessage: 'The worker thread ended before it sent the mail.',
};

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
    const post = (job: MailJob): void => {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      thread.worker.postMessage(job);
    };
    thread.worker.on('message', (answer: MailAnswer) => {
      const { id } = answer;
      const mail = thread.waiting.get(id);
      if ('result' in answer) {
        mail?.resolve(answer.result);
        thread.waiting.delete(id);
      } else {
        const refuse = (): void => post({ id, hasBegun: false });
        if (!mail) return;
        const isNext = answer.begin === 'next';
        mail.isBegun ||= !isNext;
        void mail.begin({ isNext }).then((hasBegun) => post({ id, hasBegun }), refuse);
      }
    });
    const lost = (): void => {
      if (slots[slot] === thread) slots[slot] = undefined;
      for (const { resolve, isBegun } of thread.waiting.values()) resolve(isBegun ? LOST : NOT_BEGUN);
      thread.waiting.clear();
    };
    thread.worker.on('error', lost);
    thread.worker.on('exit', lost);
    thread.worker.unref();
    slots[slot] = thread;
    return thread;
  };

  return {
    send: (relay, mail, { timeoutMs, begin }) =>
      new Promise((resolve) => {
        if (isClosing) return resolve(NOT_BEGUN);
        const { worker, waiting } = threadAt(slotOf(relay, threads));
        const job = { id: (lastId += 1), relay, mail, timeoutMs };
        waiting.set(job.id, { resolve, begin, isBegun: false });
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        worker.postMessage(job satisfies MailJob);
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
