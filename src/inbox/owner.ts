import type { Actor } from '../identity/actor.ts';

/** The person whose inbox, connections or preferences are read or changed. */
export type Owner = Pick<Actor, 'tenantId' | 'userId'>;
