import { setImmediate as turn } from 'node:timers/promises';

import { AppError } from '../errors.ts';
import { scan } from './scan.ts';
import { type Analysis, analyse } from './syntax.ts';
import { createThread } from './thread.ts';

/** Maximum number of tokens of a template that is parsed on the main thread, in a few milliseconds. */
const MAX_AT_ONCE = 150;
/** Maximum length of such a template, in characters. */
const MAX_LENGTH = 16 * 1024;
/** Maximum number of waiting templates. Each takes at most 0.1 s. */
const MAX_WAITING = 200;

/** Parses a template like `analyse`. @throws `unavailable` when too many templates are waiting. */
export type TemplateReader = (source: string) => Promise<Analysis>;

/**
 * Creates a reader that parses large templates in a worker thread, because they take up to 0.1 s, and small ones on the
 * main thread. It parses one template at a time and yields to the event loop before each.
 */
export function createTemplateReader(): TemplateReader {
  const inThread = createThread<string, Analysis>('read-worker');
  let waiting = 0;
  /** The previous job. Even receiving a result from the thread takes milliseconds, so jobs run one after another. */
  let last: Promise<unknown> = Promise.resolve();

  const read = async (source: string): Promise<Analysis> => {
    await turn();
    const { tokens, problem } = scan(source);
    return !problem && (tokens > MAX_AT_ONCE || source.length > MAX_LENGTH) ? inThread(source) : analyse(source);
  };

  return async (source) => {
    if (waiting >= MAX_WAITING)
      throw new AppError('unavailable', 'Too many templates are being parsed. Try again later.');
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

/** Reader for editing and previews. Separate from the one for delivery, so that authors cannot delay deliveries. */
export const readTemplate: TemplateReader = createTemplateReader();
