import type { Contestant } from './contestant.ts';
import { raw, textbook } from './redis-contestants.ts';

/** All of them; the first is what the others are compared with. */
export const contestants: Contestant[] = [textbook, raw];
