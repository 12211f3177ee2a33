import type { Contestant } from './contestant.ts';
import { raw, textbook } from './redis-contestants.ts';
import { inbox, inboxSealed, plain, sealed } from './service-contestants.ts';

/** All servers. The first is the baseline. */
export const contestants: Contestant[] = [textbook, raw, plain, sealed, inbox, inboxSealed];
