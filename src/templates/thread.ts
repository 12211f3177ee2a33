import { Worker } from 'node:worker_threads';

/** Request to a worker thread. */
export interface ThreadJob<Question> {
  id: number;
  question: Question;
}

/** Reply of a worker thread. */
export interface ThreadAnswer<Answer> {
  id: number;
  /** Absent when the job failed. */
  answer?: Answer;
}

interface Running<Answer> {
  worker: Worker;
  pending: Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>;
}

/** Maximum duration of a job, far longer than any job needs. A thread that exceeds it is terminated. */
const TIMEOUT_MS = 20_000;

/**
 * Returns a function that runs jobs in a worker thread. The thread starts on first use, does not keep the process alive
 * while it is idle, and is replaced when it ends.
 *
 * @param name file name of the script in this folder, without its extension.
 */
export function createThread<Question, Answer>(name: string): (question: Question) => Promise<Answer> {
  // The worker script has the same extension as this file: `.js` after compilation, `.ts` when Node.js strips types.
  const script = new URL(`./${name}.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);
  let running: Running<Answer> | undefined;
  let lastId = 0;

  const start = (): Running<Answer> => {
    const started: Running<Answer> = { worker: new Worker(script), pending: new Map() };
    const { worker, pending } = started;
    worker.on('message', ({ id, answer }: ThreadAnswer<Answer>) => {
      if (answer === undefined) pending.get(id)?.reject(new Error(`worker thread ${name} failed to process a job`));
      else pending.get(id)?.resolve(answer);
      pending.delete(id);
      if (pending.size === 0) worker.unref();
    });
    const lost = (): void => {
      if (running === started) running = undefined;
      for (const { reject } of pending.values())
        reject(new Error(`worker thread ${name} ended before it finished its jobs`));
      pending.clear();
    };
    worker.on('error', lost);
    worker.on('exit', lost);
    worker.unref();
    return started;
  };

  return async (question) => {
    const { worker, pending } = (running ??= start());
    const job: ThreadJob<Question> = { id: (lastId += 1), question };
    const timeout = setTimeout(() => void worker.terminate(), TIMEOUT_MS).unref();
    try {
      return await new Promise<Answer>((resolve, reject) => {
        if (pending.size === 0) worker.ref();
        pending.set(job.id, { resolve, reject });
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        worker.postMessage(job);
      });
    } finally {
      clearTimeout(timeout);
    }
  };
}
