import { Worker } from 'node:worker_threads';

/** What a thread is asked, and what it answers. */
export interface ThreadJob<Question> {
  id: number;
  question: Question;
}

export interface ThreadAnswer<Answer> {
  id: number;
  /** Absent where the work failed. */
  answer?: Answer;
}

interface Running<Answer> {
  worker: Worker;
  asked: Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>;
}

/** Far more than any job takes: a thread that is silent for longer is stuck, and ended. */
const PATIENCE_MS = 20_000;

/**
 * Asks a thread of its own, which starts when it is needed, keeps nobody from ending, and is replaced when it dies.
 *
 * @param name of the script beside this one, without its ending.
 */
export function createThread<Question, Answer>(name: string): (question: Question) => Promise<Answer> {
  // Beside compiled code lies compiled code; Node.js strips the types of what is not.
  const script = new URL(`./${name}.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);
  let running: Running<Answer> | undefined;
  let lastId = 0;

  const start = (): Running<Answer> => {
    const started: Running<Answer> = { worker: new Worker(script), asked: new Map() };
    const { worker, asked } = started;
    worker.on('message', ({ id, answer }: ThreadAnswer<Answer>) => {
      if (answer === undefined) asked.get(id)?.reject(new Error('a thread of the templates failed at its work'));
      else asked.get(id)?.resolve(answer);
      asked.delete(id);
      if (asked.size === 0) worker.unref();
    });
    const lost = (): void => {
      if (running === started) running = undefined;
      for (const { reject } of asked.values()) reject(new Error('a thread of the templates ended'));
      asked.clear();
    };
    worker.on('error', lost);
    worker.on('exit', lost);
    worker.unref();
    return started;
  };

  return async (question) => {
    const { worker, asked } = (running ??= start());
    const job: ThreadJob<Question> = { id: (lastId += 1), question };
    const patience = setTimeout(() => void worker.terminate(), PATIENCE_MS).unref();
    try {
      return await new Promise<Answer>((resolve, reject) => {
        if (asked.size === 0) worker.ref();
        asked.set(job.id, { resolve, reject });
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        worker.postMessage(job);
      });
    } finally {
      clearTimeout(patience);
    }
  };
}
