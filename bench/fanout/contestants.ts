import type { Contestant } from './contestant.ts';
import { raw, textbook } from './redis-contestants.ts';
import { inbox, inboxSealed, plain, sealed } from './service-contestants.ts';

/** All of them; the first is what the others are compared with. */
export const contestants: Contestant[] = [textbook, raw, plain, sealed, inbox, inboxSealed];
