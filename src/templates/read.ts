import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

import { AppError } from '../errors.ts';
import { type Analysis, analyse, scan } from './syntax.ts';

/** What the thread is asked, and what it answers. */
export interface ReadJob {
  id: number;
  source: string;
}

export interface ReadAnswer {
  id: number;
  analysis: Analysis;
}

interface Thread {
  worker: Worker;
  waiting: Map<number, { resolve: (analysis: Analysis) => void; reject: (error: Error) => void }>;
}

/** Beside compiled code lies compiled code; Node.js strips the types of what is not. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './read-worker.ts' : './read-worker.js', import.meta.url);

/** Words within expressions that are read at once, in some milliseconds. */
const MAX_AT_ONCE = 150;
/** Characters that are. */
const MAX_LENGTH = 16 * 1024;
/** Texts that wait. Each takes 0.1 s at most. */
const MAX_WAITING = 200;

/** Reads a template like `analyse`. @throws `unavailable` when too many wait already. */
export type TemplateReader = (source: string) => Promise<Analysis>;

/**
 * The parser takes up to 0.1 s over the largest templates, so that these are read in a thread, which starts when it is
 * needed; the small ones are read here, one after another, so that many of them don't add up.
 */
export function createTemplateReader(): TemplateReader {
  let thread: Thread | undefined;
  let lastId = 0;
  let waiting = 0;
  /** Taking over what was read takes some milliseconds, too: one after another, with something else between. */
  let last: Promise<unknown> = Promise.resolve();

  const start = (): Thread => {
    const started: Thread = { worker: new Worker(WORKER), waiting: new Map() };
    started.worker.on('message', ({ id, analysis }: ReadAnswer) => {
      started.waiting.get(id)?.resolve(analysis);
      started.waiting.delete(id);
      // Nobody is kept from ending by a thread that has nothing to do.
      if (started.waiting.size === 0) started.worker.unref();
    });
    const lost = (): void => {
      if (thread === started) thread = undefined;
      for (const { reject } of started.waiting.values()) reject(new Error('the thread that reads templates ended'));
      started.waiting.clear();
    };
    started.worker.on('error', lost);
    started.worker.on('exit', lost);
    started.worker.unref();
    return started;
  };

  const inThread = (source: string): Promise<Analysis> => {
    const { worker, waiting: asked } = (thread ??= start());
    return new Promise((resolve, reject) => {
      const job: ReadJob = { id: (lastId += 1), source };
      if (asked.size === 0) worker.ref();
      asked.set(job.id, { resolve, reject });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage(job);
    });
  };

  const read = async (source: string): Promise<Analysis> => {
    await turn();
    const { tokens, problem } = scan(source);
    return !problem && (tokens > MAX_AT_ONCE || source.length > MAX_LENGTH) ? inThread(source) : analyse(source);
  };

  return async (source) => {
    if (waiting >= MAX_WAITING) throw new AppError('unavailable', 'Too many templates are being read at once.');
    waiting += 1;
    const result = last.then(() => read(source));
    last = result.catch(() => {});
    try {
      return await result;
    } finally {
      waiting -= 1;
    }
  };
}

/** For those who write templates: whatever they write, what is to be sent does not wait for it. */
export const readTemplate: TemplateReader = createTemplateReader();
