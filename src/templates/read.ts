import { setImmediate as turn } from 'node:timers/promises';

import { AppError } from '../errors.ts';
import { scan } from './scan.ts';
import { type Analysis, analyse } from './syntax.ts';
import { createThread } from './thread.ts';

/** Words within expressions that are read at once, in some milliseconds. */
const MAX_AT_ONCE = 150;
/** Characters that are. */
const MAX_LENGTH = 16 * 1024;
/** Texts that wait. Each takes 0.1 s at most. */
const MAX_WAITING = 200;

/** Reads a template like `analyse`. @throws `unavailable` when too many wait already. */
export type TemplateReader = (source: string) => Promise<Analysis>;

/**
 * The parser takes up to 0.1 s over the largest templates, so that these are read in a thread; the small ones are read
 * here, one after another, so that many of them don't add up.
 */
export function createTemplateReader(): TemplateReader {
  const inThread = createThread<string, Analysis>('read-worker');
  let waiting = 0;
  /** Taking over what was read takes some milliseconds, too: one after another, with something else between. */
  let last: Promise<unknown> = Promise.resolve();

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
